// What every channel remembers of cancel().
#pragma once

#include <atomic>
#include <optional>
#include <string>

#include "ferry/result.h"

namespace ferry {

/// The reason of the first cancel(). Thread-safe.
class CancelReason {
 public:
  /// Keeps `why`, unless there is a reason already. Whoever wakes the blocked calls does so after
  /// this, so that a woken call finds the reason.
  void give(Errc why) noexcept;

  bool given() const noexcept { return code_.load(std::memory_order_acquire) != k_none; }

  /// The failure of a cancelled call, once there is a reason. `act` says what the call was doing:
  /// "read from tcp://node7:4446".
  std::optional<Error> error(const std::string& act) const;

 private:
  static constexpr int k_none = -1;
  // Pairs with the system call, or the mutex, that wakes the blocked calls after give().
  std::atomic<int> code_{k_none};
};

}  // namespace ferry
