// Whoever has pages on their way notices when they stop moving.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "ferry/event_loop.h"
#include "loop/background.h"

namespace ferry {

/// Watches one round of a source, from construction to destruction. Heartbeats prove that the peer
/// lives and that the control channel carries; they say nothing of a page channel whose bytes
/// vanish on the way. Made and destroyed on any thread but the loop's.
class ProgressWatch {
 public:
  /// `moved` gives a number that changes whenever a page was sent, or has arrived. `stalled` is
  /// called once, where it has stayed the same for `timeout` (at least k_shortest_silence), or up
  /// to twice that. Both on the loop's thread; neither may block.
  ProgressWatch(EventLoop& loop, std::chrono::milliseconds timeout,
                std::function<std::uint64_t()> moved, std::function<void()> stalled);

 private:
  Background watch_;
};

}  // namespace ferry
