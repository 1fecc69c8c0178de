// When the peer was last heard of.
#pragma once

#include <atomic>

#include "ferry/event_loop.h"

namespace ferry {

/// Remembers the last time that a byte came from the peer, on any channel. Thread-safe: a single
/// relaxed atomic, which publishes nothing but itself.
class Liveness {
 public:
  void heard() noexcept { last_.store(Clock::now(), std::memory_order_relaxed); }
  Clock::time_point last() const noexcept { return last_.load(std::memory_order_relaxed); }

 private:
  std::atomic<Clock::time_point> last_ = Clock::now();
};

}  // namespace ferry
