// Time, as a descriptor.
#pragma once

#include <cstdint>

#include "ferry/event_loop.h"
#include "ferry/result.h"
#include "ferry/unique_fd.h"
#include "loop/poller.h"

namespace ferry {

/// Makes a poller's fd() readable at a given time, for a loop that is driven from another one and
/// is not there to wait itself. On the loop's thread.
class Alarm {
 public:
  /// The poller, which must outlive it, reports `cookie` when the time has come.
  static Result<Alarm> create(Poller& poller, std::uint64_t cookie);

  /// In the place of the time before; time_point::max() is never. Cheap where nothing changes.
  void set(Clock::time_point when) noexcept;
  /// After the report, so that there can be another.
  Result<void> renew();

 private:
  Alarm(Poller& poller, std::uint64_t cookie, UniqueFd timer) noexcept;

  Poller* poller_;
  std::uint64_t cookie_;
  UniqueFd timer_;
  Clock::time_point when_ = Clock::time_point::max();
};

}  // namespace ferry
