// How the rounds go, for whoever reports on them.
#pragma once

#include <algorithm>
#include <mutex>
#include <optional>

#include "ferry/event_loop.h"
#include "ferry/guest.h"

namespace ferry {

/// Set by the thread that conducts the rounds, read by any. Thread-safe.
class PrecopyGauge {
 public:
  void set(const PrecopyStatus& status) {
    const std::scoped_lock lock(mutex_);
    status_ = status;
    set_at_ = Clock::now();
  }

  /// Nothing before the first round. Its ETA grows shorter while a round is under way.
  std::optional<PrecopyStatus> now() const {
    const std::scoped_lock lock(mutex_);
    auto status = status_;
    if (status && status->eta) {
      const std::chrono::nanoseconds passed = Clock::now() - set_at_;
      status->eta = std::max(*status->eta - passed, std::chrono::nanoseconds{});
    }
    return status;
  }

 private:
  mutable std::mutex mutex_;  // guards the rest
  std::optional<PrecopyStatus> status_;
  Clock::time_point set_at_{};
};

}  // namespace ferry
