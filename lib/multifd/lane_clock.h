// Where a lane's time goes.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

#include "ferry/channel.h"
#include "ferry/report.h"

namespace ferry {

/// One lane's account. Thread-safe: the lane adds, once a packet, and anybody may look.
class LaneClock {
 public:
  void add(const LaneTimes& spent) {
    const std::scoped_lock lock(mutex_);
    times_ += spent;
  }
  LaneTimes times() const {
    const std::scoped_lock lock(mutex_);
    return times_;
  }

 private:
  mutable std::mutex mutex_;  // guards times_
  LaneTimes times_;
};

/// The account of a lane that is in one phase at a time: one of LaneTimes' fields. Its thread turns
/// from one to the next; anybody may look.
class PhaseClock {
 public:
  using Phase = std::chrono::nanoseconds LaneTimes::*;

  /// What passes from here on is of this phase; null: of none.
  void turn_to(Phase phase) {
    const auto now = std::chrono::steady_clock::now();
    if (phase_ != nullptr) {
      LaneTimes spent;
      spent.*phase_ = now - since_;
      clock_.add(spent);
    }
    phase_ = phase;
    since_ = now;
  }
  LaneTimes times() const { return clock_.times(); }

 private:
  LaneClock clock_;
  Phase phase_ = nullptr;  // this and the next: its thread's
  std::chrono::steady_clock::time_point since_{};
};

/// What the thread that made it has used since.
class TimeSpan {
 public:
  TimeSpan() noexcept;

  std::chrono::nanoseconds wall() const noexcept;
  /// The calls of a channel in this stretch: what they worked, what they were blocked, and of that
  /// work the encryption.
  LaneTimes in_channel(std::chrono::nanoseconds encrypted) const noexcept;
  /// Pages touched for the first time, and the like.
  std::uint64_t page_faults() const noexcept;

 private:
  struct Used {
    std::chrono::nanoseconds cpu;
    std::uint64_t faults;
  };
  static Used used() noexcept;

  const std::chrono::steady_clock::time_point begin_;
  const Used used_;
};

/// What a channel has encrypted for so far, in time; 0 where it encrypts nothing.
inline std::chrono::nanoseconds encrypting(const CryptoClock* clock) noexcept {
  return clock == nullptr ? std::chrono::nanoseconds{} : clock->encrypting();
}
inline std::chrono::nanoseconds decrypting(const CryptoClock* clock) noexcept {
  return clock == nullptr ? std::chrono::nanoseconds{} : clock->decrypting();
}

}  // namespace ferry
