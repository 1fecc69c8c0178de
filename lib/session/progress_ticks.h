// Tells an observer each second how far it is, where no peer's heartbeat does.
#pragma once

#include <functional>
#include <optional>

#include "ferry/event_loop.h"
#include "ferry/guest.h"
#include "loop/background.h"

namespace ferry {

/// From construction to destruction; made and destroyed on any thread but the loop's.
class ProgressTicks {
 public:
  /// `progress` is asked on the loop's thread. Without an observer of progress nobody asks.
  ProgressTicks(EventLoop& loop, const Observer& observer, std::function<Progress()> progress);

 private:
  std::optional<Background> ticks_;
};

}  // namespace ferry
