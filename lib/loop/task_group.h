// Many Tasks of one owner.
#pragma once

#include <cstddef>
#include <list>
#include <memory>

#include "ferry/event_loop.h"

namespace ferry {

/// Runs any number of tasks, oldest first in order, and drops those that are left when it is
/// destroyed. Used on the loop's thread alone.
class TaskGroup {
 public:
  explicit TaskGroup(EventLoop& loop);
  ~TaskGroup();

  void spawn(Task<void> task);
  std::size_t size() const noexcept;
  /// Drops the one that has been running longest. There must be one, and it must not be the caller.
  void drop_oldest();

 private:
  struct Member;
  struct Members;
  EventLoop& loop_;
  std::shared_ptr<Members> members_;  // shared with the posted clean-up, which may come later
};

}  // namespace ferry
