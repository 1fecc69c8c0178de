#include "console/amounts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/escape.h"

namespace ferry {
namespace {

/// Three significant digits. The bounds are where rounding would show a fourth.
std::string three_digits(double value) {
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}", value, decimals);
}

/// Nothing where it is none, or less than one byte.
std::optional<std::uint64_t> amount_in(std::string_view text) {
  struct Unit {
    std::string_view name;
    double bytes;
  };
  constexpr double k = 1024;
  constexpr Unit k_units[] = {{"", 1},
                              {"B", 1},
                              {"KiB", k},
                              {"MiB", k * k},
                              {"GiB", k * k * k},
                              {"TiB", k * k * k * k},
                              {"K", k},
                              {"M", k * k},
                              {"G", k * k * k},
                              {"T", k * k * k * k},
                              {"kB", 1e3},
                              {"KB", 1e3},
                              {"MB", 1e6},
                              {"GB", 1e9},
                              {"TB", 1e12}};
  constexpr double k_most = 1e18;  // beyond any line or memory, and within 64 bits

  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, fault] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  std::string_view unit(stopped, static_cast<std::size_t>(end - stopped));
  if (unit.starts_with(' ')) unit.remove_prefix(1);
  const auto known = std::ranges::find(k_units, unit, &Unit::name);
  if (fault == std::errc() && known != std::end(k_units)) {
    const double bytes = number * known->bytes;
    if (bytes >= 1 && bytes <= k_most) return static_cast<std::uint64_t>(bytes);
  }
  return std::nullopt;
}

}  // namespace

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 6> k_units = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  // 1023.5 would be shown as 1024: that is 1.00 of the next unit.
  while (value >= 1023.5 && unit + 1 < k_units.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{} {}", three_digits(value), k_units[unit]);
}

std::string rate_text(double bytes_per_second) {
  return bytes_text(static_cast<std::uint64_t>(bytes_per_second)) + "/s";
}

std::string seconds_text(std::chrono::nanoseconds time) {
  const double seconds = std::chrono::duration<double>(time).count();
  if (seconds < 99.95) return three_digits(seconds) + " s";
  return clock_text(std::chrono::round<std::chrono::seconds>(time));
}

std::string clock_text(std::chrono::seconds time) {
  const auto seconds = time.count();
  if (seconds < 3600) return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
  return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

Result<std::uint64_t> parse_rate(std::string_view text) {
  std::string_view amount = text;
  if (amount.ends_with("/s")) amount.remove_suffix(2);
  if (const auto rate = amount_in(amount)) return *rate;
  return fail(Errc::usage, in_quotes(text) + ": not a rate", "2GiB/s, 100MB/s, ...");
}

Result<std::uint64_t> parse_bytes(std::string_view text) {
  if (const auto bytes = amount_in(text)) return *bytes;
  return fail(Errc::usage, in_quotes(text) + ": not an amount", "64MiB, 4GiB, ...");
}

double rate_of(std::uint64_t bytes, std::chrono::nanoseconds time) noexcept {
  const double seconds = std::chrono::duration<double>(time).count();
  return seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
}

}  // namespace ferry
