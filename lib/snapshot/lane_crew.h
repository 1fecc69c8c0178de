// The threads of a file's lanes.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/first_error.h"
#include "ferry/result.h"

namespace ferry {

/// One crew does one round of work. One thread drives it; cancel() may come from any.
class LaneCrew {
 public:
  /// The most data that one piece of work should have: not so much that lanes end far apart, nor
  /// that a stop waits for it; nor so little that lanes which take turns in the page cache wait for
  /// each other's folios.
  static constexpr std::uint64_t k_work_bytes = 1024 * 1024;

  /// `ending` is requested to stop when the crew is cancelled: what a body waits for besides the
  /// disk is of no matter then.
  using Body = std::function<Result<void>(unsigned lane, const std::stop_token& ending)>;

  LaneCrew() = default;
  LaneCrew(const LaneCrew&) = delete;
  LaneCrew& operator=(const LaneCrew&) = delete;
  /// Tells the lanes to end, and waits for them.
  ~LaneCrew();

  /// Starts a thread for each lane, named `name`-N. It ends when `body` does; the first failure is
  /// told to all of them. Errc::system.
  Result<void> start(const char* name, unsigned lanes, Body body);
  /// Blocks until all lanes have ended. The first failure.
  Result<void> finish();
  /// Thread-safe. Lanes end after what they are at, and no bound on bandwidth holds them in it.
  void cancel(Error why);
  std::stop_token ending() const noexcept { return ending_.get_token(); }

 private:
  void join();

  FirstError first_;
  std::stop_source ending_;
  std::vector<std::thread> threads_;
};

}  // namespace ferry
