// A bound on how fast a migration may send.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>

namespace [[gnu::visibility("default")]] ferry {

/// Bytes per second that all who share it may use together: a token bucket that lets itself be
/// overdrawn by one packet, so that even the smallest rate gets on. Thread-safe; the rate may
/// change at any time, and holds at once.
class BandwidthLimit {
 public:
  /// 0: no bound.
  explicit BandwidthLimit(std::uint64_t bytes_per_second = 0) noexcept;

  void set(std::uint64_t bytes_per_second) noexcept;
  std::uint64_t bytes_per_second() const noexcept;

  /// Blocks until `bytes` may go, or a stop is requested.
  void acquire(std::uint64_t bytes, const std::stop_token& stop);

 private:
  using Clock = std::chrono::steady_clock;
  void refill(Clock::time_point now) noexcept;

  mutable std::mutex mutex_;  // guards the rest
  std::condition_variable_any changed_;
  std::uint64_t rate_;
  double credit_ = 0;  // bytes; negative: overdrawn
  Clock::time_point refilled_ = Clock::now();
  std::uint64_t changes_ = 0;
};

}  // namespace gnu::visibility("default")]]ferry
