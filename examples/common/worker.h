// A thread of a guest's, which takes steps at a pace, and can be paused between two of them.
#pragma once

#include <ferry/result.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

namespace example {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC: all processes of a host read the same

/// How often a worker takes a step, and how many pages it walks in one.
struct Pace {
  std::uint64_t pages = 0;
  std::chrono::nanoseconds interval{};
  /// A step each millisecond, or fewer where that is less than a page. 0 bytes a second: no pages.
  static Pace of(std::uint64_t bytes_per_second) noexcept;
};

/// The times at which a worker's steps were over, as the guest itself sees it.
struct Heartbeats {
  std::uint64_t count = 0;
  Clock::time_point last{};  ///< of no meaning while count is 0
  std::chrono::nanoseconds longest_gap{};
  void beat(Clock::time_point now) noexcept;
};

/// Paused at first. Used by one thread, but for throttle().
class Worker {
 public:
  /// `step` is called by the worker's thread, never while it is paused; its first failure ends the
  /// thread's work.
  Worker(Pace pace, std::function<ferry::Result<void>()> step);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  void resume();
  /// Blocks until a step that is being taken is over. The step's failure, if there was one.
  ferry::Result<void> pause();
  /// Has the worker rest for so many percent (0 to 99) of its time. Thread-safe.
  void throttle(unsigned percent);

  /// Only while it is paused, or in a step.
  Heartbeats& heartbeats() noexcept { return heartbeats_; }

 private:
  enum class Wanted { pause, run, end };
  void loop();
  void want(Wanted what);
  std::chrono::nanoseconds interval() const;  // mutex_ is held

  const Pace pace_;
  const std::function<ferry::Result<void>()> step_;
  std::mutex
      mutex_;  // guards what follows, but for heartbeats_, which is the thread's while it runs
  std::condition_variable changed_;
  Wanted wanted_ = Wanted::pause;
  unsigned throttle_ = 0;
  bool still_ = true;
  std::optional<ferry::Error> failure_;
  Heartbeats heartbeats_;
  std::thread thread_;  // last: it uses the others
};

}  // namespace example
