// The templates of event_loop.h.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include "ferry/event_loop.h"

namespace [[gnu::visibility("default")]] ferry {
namespace detail {

/// Waits for a Task or a deadline, whichever comes first.
template <class T>
class DeadlineAwaiter final : public ChildAwaiter<T> {
 public:
  DeadlineAwaiter(EventLoop& loop, Clock::time_point deadline, Task<T> task, std::string act)
      : ChildAwaiter<T>(std::move(task)), loop_(loop), deadline_(deadline), act_(std::move(act)) {}
  ~DeadlineAwaiter() { loop_.cancel_call(timer_); }

  bool await_suspend(std::coroutine_handle<> parent) {
    if (!this->must_wait(parent)) return false;
    timer_ = loop_.call_at(deadline_, [this] { expire(); });
    return true;
  }
  Result<T> await_resume() {
    if (!this->child_) return fail(Errc::timed_out, std::move(act_) + ": timed out");
    return std::move(this->child_.result());
  }

 private:
  void expire() {
    this->child_ = {};
    this->parent_.resume();
  }
  // Cancelled at once: the timer could otherwise fire before the parent's turn is over.
  std::coroutine_handle<> resume_parent() noexcept override {
    loop_.cancel_call(timer_);
    return this->parent_;
  }

  EventLoop& loop_;
  Clock::time_point deadline_;
  std::string act_;
  EventLoop::TimerId timer_ = 0;
};

/// Waits for all of several Tasks, or for the first that fails.
template <class T>
class AllAwaiter {
 public:
  explicit AllAwaiter(std::vector<Task<T>> tasks) {
    for (Task<T>& task : tasks) members_.emplace_back(*this, std::move(task));
  }
  bool await_ready() const noexcept { return members_.empty(); }

  bool await_suspend(std::coroutine_handle<> parent) {
    pending_ = members_.size();
    for (Member& member : members_) {
      member.task.start(member).resume();
      if (failed_) break;
    }
    if (!over()) {
      parent_ = parent;
      return true;
    }
    drop_all_but(failed_);
    return false;
  }

  Result<std::vector<T>> await_resume() {
    if (failed_) return std::unexpected(std::move(failed_->task.result()).error());
    std::vector<T> values;
    values.reserve(members_.size());
    for (Member& member : members_) values.push_back(*std::move(member.task.result()));
    return values;
  }

 private:
  struct Member final : Completion {
    Member(AllAwaiter& in_group, Task<T> of_task) : group(in_group), task(std::move(of_task)) {}
    std::coroutine_handle<> completed() noexcept override { return group.completed(*this); }
    AllAwaiter& group;
    Task<T> task;
  };

  bool over() const noexcept { return failed_ != nullptr || pending_ == 0; }

  // While members are being started nobody waits yet (no parent_): await_suspend looks for itself.
  std::coroutine_handle<> completed(Member& member) noexcept {
    --pending_;
    if (!member.task.result() && !failed_) failed_ = &member;
    if (!parent_ || !over()) return std::noop_coroutine();
    drop_all_but(failed_);
    return parent_;
  }

  void drop_all_but(Member* kept) noexcept {
    if (!kept) return;
    for (Member& member : members_) {
      if (&member != kept) member.task = {};
    }
  }

  std::deque<Member> members_;  // a deque: members are pointed to, and cannot move
  std::size_t pending_ = 0;
  Member* failed_ = nullptr;
  std::coroutine_handle<> parent_;
};

/// A Task on the loop, and a thread that blocks for it. Shared by that thread, and by what it has
/// posted to the loop, which may outlast the wait. All but `result_` is the loop's thread's alone.
template <class T>
class BlockingCall final : public Completion, public std::enable_shared_from_this<BlockingCall<T>> {
 public:
  BlockingCall(EventLoop& loop, Task<T> task) : loop_(loop), task_(std::move(task)) {}

  /// On the loop's thread.
  void start(const std::stop_token& stop) {
    if (stop.stop_requested()) return drop();
    task_.start(*this).resume();
  }
  /// On the loop's thread.
  void drop() {
    if (task_ && !ended_) settle(fail(Errc::cancelled, "stopped on request"));
  }
  /// On the caller's thread.
  Result<T> wait() {
    std::unique_lock lock(mutex_);
    settled_.wait(lock, [this] { return result_.has_value(); });
    return *std::move(result_);
  }

 private:
  // Posted, so that nothing of the task is on the stack when it is destroyed.
  std::coroutine_handle<> completed() noexcept override {
    ended_ = true;
    loop_.post(
        [self = this->shared_from_this()] { self->settle(std::move(self->task_.result())); });
    return std::noop_coroutine();
  }

  // The task goes first: once the caller wakes, what the task refers to may be gone.
  void settle(Result<T> result) {
    task_ = {};
    std::lock_guard lock(mutex_);
    result_ = std::move(result);
    settled_.notify_one();
  }

  EventLoop& loop_;
  Task<T> task_;
  bool ended_ = false;  // what the task came to is on its way to result_
  std::mutex mutex_;
  std::condition_variable settled_;
  std::optional<Result<T>> result_;  // guarded by mutex_
};

}  // namespace detail

template <class T>
Task<T> EventLoop::within(Clock::time_point deadline, Task<T> task, std::string act) {
  detail::DeadlineAwaiter<T> awaiter(*this, deadline, std::move(task), std::move(act));
  Result<T> result = co_await awaiter;
  if constexpr (std::is_void_v<T>) {
    co_await std::move(result);
  } else {
    co_return std::move(result);
  }
}

template <class T>
Task<std::vector<T>> EventLoop::all(std::vector<Task<T>> tasks) {
  detail::AllAwaiter<T> awaiter(std::move(tasks));
  Result<std::vector<T>> result = co_await awaiter;
  co_return std::move(result);
}

template <class T>
Result<T> block_on(EventLoop& loop, Task<T> task, std::stop_token stop) {
  auto call = std::make_shared<detail::BlockingCall<T>>(loop, std::move(task));
  loop.post([call, stop] { call->start(stop); });
  // Gone before this function is: its destructor waits for a callback that runs at this moment.
  std::stop_callback on_stop(stop, [&loop, call] { loop.post([call] { call->drop(); }); });
  return call->wait();
}

}  // namespace gnu::visibility("default")]]ferry
