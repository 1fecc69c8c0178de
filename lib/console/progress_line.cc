#include "console/progress_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "console/amounts.h"

namespace ferry {

void Pace::add(const Progress& progress) noexcept { recent_[count_++ % k_window] = progress; }

double Pace::bytes_per_second() const noexcept {
  if (count_ == 0) return 0;
  const Progress& last = recent_[(count_ - 1) % k_window];
  // Until the window is full, from the start of it all.
  const Progress first = count_ < k_window ? Progress{} : recent_[count_ % k_window];
  if (last.bytes_done <= first.bytes_done) return 0;
  return rate_of(last.bytes_done - first.bytes_done, last.elapsed - first.elapsed);
}

std::optional<std::chrono::seconds> Pace::time_left() const noexcept {
  constexpr double k_longest = 1000 * 3600;  // a guess beyond this is none
  const double rate = bytes_per_second();
  if (count_ == 0 || rate <= 0) return std::nullopt;
  const Progress& last = recent_[(count_ - 1) % k_window];
  const std::uint64_t left = last.bytes_total - std::min(last.bytes_done, last.bytes_total);
  const double seconds = std::ceil(static_cast<double>(left) / rate);
  if (seconds >= k_longest) return std::nullopt;
  return std::chrono::seconds(static_cast<std::int64_t>(seconds));
}

std::string progress_line(const Progress& progress, const Pace& pace, std::size_t width) {
  const double share = progress.bytes_total == 0 ? 1
                                                 : static_cast<double>(progress.bytes_done) /
                                                       static_cast<double>(progress.bytes_total);
  const auto left = pace.time_left();
  const std::array parts = {
      bytes_text(progress.bytes_done) + " of " + bytes_text(progress.bytes_total),
      // Never 100 before it is.
      fmt::format("  {} %", static_cast<int>(std::floor(std::min(share, 1.0) * 100))),
      "  " + rate_text(pace.bytes_per_second()),
      left ? "  ETA " + clock_text(*left) : std::string(),
  };
  std::string line;
  for (const std::string& part : parts) {
    if (part.size() > width - line.size()) break;
    line += part;
  }
  return line;
}

}  // namespace ferry
