// A Task on the loop that lives as long as an object on some other thread.
#pragma once

#include <memory>

#include "ferry/event_loop.h"

namespace ferry {

/// Runs a task on the loop from construction to destruction. Made and destroyed on any thread but
/// the loop's; the loop must be running, and go on until the destructor returns. How the task ends
/// is of no interest: what matters it tells by itself.
class Background {
 public:
  Background(EventLoop& loop, Task<void> task);
  /// Drops the task on the loop's thread and waits until that has happened: nothing of it runs
  /// after.
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

 private:
  struct Running;
  EventLoop& loop_;
  std::shared_ptr<Running> running_;  // shared with what is posted to the loop
};

}  // namespace ferry
