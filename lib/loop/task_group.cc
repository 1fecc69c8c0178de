#include "loop/task_group.h"

#include <algorithm>

namespace ferry {

struct TaskGroup::Member final : detail::Completion {
  Member(EventLoop& on, std::weak_ptr<Members> in, Task<void> what)
      : loop(on), group(std::move(in)), task(std::move(what)) {}
  std::coroutine_handle<> completed() noexcept override;

  EventLoop& loop;
  std::weak_ptr<Members> group;
  Task<void> task;
  bool done = false;
};

struct TaskGroup::Members {
  std::list<Member> list;
};

std::coroutine_handle<> TaskGroup::Member::completed() noexcept {
  done = true;
  // Not here: the frame is still on the stack.
  loop.post([group = group] {
    if (const auto members = group.lock()) {
      members->list.remove_if([](const Member& member) { return member.done; });
    }
  });
  return std::noop_coroutine();
}

TaskGroup::TaskGroup(EventLoop& loop) : loop_(loop), members_(std::make_shared<Members>()) {}

TaskGroup::~TaskGroup() = default;

void TaskGroup::spawn(Task<void> task) {
  Member& member = members_->list.emplace_back(loop_, members_, std::move(task));
  member.task.start(member).resume();
}

std::size_t TaskGroup::size() const noexcept {
  return static_cast<std::size_t>(
      std::ranges::count_if(members_->list, [](const Member& member) { return !member.done; }));
}

void TaskGroup::drop_oldest() {
  const auto oldest = std::ranges::find_if(members_->list, [](const Member& m) { return !m.done; });
  members_->list.erase(oldest);
}

}  // namespace ferry
