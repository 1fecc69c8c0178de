// Progress as one line of a terminal.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "ferry/guest.h"

namespace ferry {

/// How fast it goes of late, from the last few Progress reports. Not thread-safe.
class Pace {
 public:
  void add(const Progress& progress) noexcept;
  /// Of memory that has arrived, holes and zeros too.
  double bytes_per_second() const noexcept;
  /// How long the rest takes if it goes on like this; nothing where it stands still.
  std::optional<std::chrono::seconds> time_left() const noexcept;

 private:
  static constexpr std::size_t k_window = 8;  // reports: about as many seconds
  std::array<Progress, k_window> recent_{};
  std::size_t count_ = 0;  // of all reports so far
};

/// "1.23 GiB of 4.00 GiB  31 %  1.92 GiB/s  ETA 0:02" in at most `width` columns: what does not fit
/// is left out, from the end.
std::string progress_line(const Progress& progress, const Pace& pace, std::size_t width);

}  // namespace ferry
