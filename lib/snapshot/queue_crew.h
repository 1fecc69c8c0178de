// Lanes that share one queue of runs, from the first run to the last.
#pragma once

#include <functional>
#include <stop_token>

#include "multifd/send_lane.h"
#include "snapshot/lane_crew.h"

namespace ferry {

/// A crew whose work comes from the one thread that drives it, run by run.
class QueueCrew {
 public:
  /// Takes work until there is none.
  using Body =
      std::function<Result<void>(unsigned lane, WorkQueue& work, const std::stop_token& ending)>;

  QueueCrew();
  QueueCrew(const QueueCrew&) = delete;
  QueueCrew& operator=(const QueueCrew&) = delete;
  /// Waits for the threads; what nobody took is dropped.
  ~QueueCrew();

  /// See LaneCrew::start(). The first failure closes the queue.
  Result<void> start(const char* name, unsigned lanes, Body body);
  /// Blocks while the lanes have enough to do. False where one has failed: finish() says why.
  bool submit(const PageWork& work) { return work_.push(work); }
  /// Blocks until all of it is done. The first failure.
  Result<void> finish();
  /// Thread-safe.
  void cancel(Error why) { crew_.cancel(std::move(why)); }

 private:
  WorkQueue work_;
  LaneCrew crew_;
  std::stop_callback<std::function<void()>> on_ending_;
};

}  // namespace ferry
