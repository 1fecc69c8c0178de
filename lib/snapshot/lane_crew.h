// Threads that share one queue of runs, from the first run to the last.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/first_error.h"
#include "multifd/send_lane.h"

namespace ferry {

/// One crew does one round of work. One thread drives it; cancel() may come from any.
class LaneCrew {
 public:
  /// The most data that one piece of work should have: not so much that lanes end far apart, nor
  /// that a stop waits for it; nor so little that lanes which take turns in the page cache wait for
  /// each other's folios.
  static constexpr std::uint64_t k_work_bytes = 1024 * 1024;

  /// `ending` is requested to stop when the crew is cancelled: what a body waits for besides work
  /// and the disk is of no matter then.
  using Body =
      std::function<Result<void>(unsigned lane, WorkQueue& work, const std::stop_token& ending)>;

  LaneCrew();
  /// Waits for the threads; what nobody took is dropped.
  ~LaneCrew();

  /// Starts a thread for each lane, named `name`-N. It ends when `body` does, which takes work
  /// until there is none; the first failure ends all of them. Errc::system.
  Result<void> start(const char* name, unsigned lanes, Body body);
  /// Blocks while the lanes have enough to do. False where one has failed: finish() says why.
  bool submit(const PageWork& work) { return work_.push(work); }
  /// Blocks until all of it is done. The first failure.
  Result<void> finish();
  /// Thread-safe. Lanes end after what they are at, and no bound on bandwidth holds them in it.
  void cancel(Error why);

 private:
  void join();

  WorkQueue work_;
  FirstError first_;
  std::stop_source ending_;
  std::vector<std::thread> threads_;
};

}  // namespace ferry
