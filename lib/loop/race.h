// Several ways to one thing: the first that succeeds counts.
#pragma once

#include <coroutine>
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "ferry/event_loop.h"

namespace ferry {

/// Starts attempts in order: the next one when `stagger` has passed since the last, and at once
/// when one has failed. With a stagger of zero all start together. The first that succeeds wins;
/// the others are dropped where they wait, and with the coroutine that awaits the race all of them
/// are. It is awaited once:
///
///   Race<UniqueFd> race(loop, 250ms, std::move(attempts));
///   std::optional<UniqueFd> won = co_await race;
///   if (!won) explain(race.failures());
template <class T>
class Race {
 public:
  Race(EventLoop& loop, Clock::duration stagger, std::vector<Task<T>> attempts)
      : loop_(loop), stagger_(stagger) {
    for (Task<T>& attempt : attempts) attempts_.emplace_back(*this, std::move(attempt));
  }
  ~Race() { loop_.cancel_call(timer_); }
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;

  /// Why each attempt failed, in their order; all of them where nobody won.
  std::vector<Error> failures() const {
    std::vector<Error> errors;
    for (const Attempt& attempt : attempts_) {
      if (attempt.failure) errors.push_back(*attempt.failure);
    }
    return errors;
  }

  bool await_ready() const noexcept { return attempts_.empty(); }

  bool await_suspend(std::coroutine_handle<> waiter) {
    start_next();
    if (over()) return false;
    waiter_ = waiter;
    return true;
  }

  std::optional<T> await_resume() { return std::move(won_); }

 private:
  struct Attempt final : detail::Completion {
    Attempt(Race& in, Task<T> what) : race(in), task(std::move(what)) {}
    std::coroutine_handle<> completed() noexcept override { return race.completed(*this); }
    Race& race;
    Task<T> task;
    std::optional<Error> failure;
  };

  bool over() const noexcept { return won_.has_value() || failed_ == attempts_.size(); }

  /// Starts one, and goes on while what it starts fails before it has waited for anything. A loop,
  /// because a list of addresses may be long and all of it unreachable.
  void start_next() {
    starting_ = true;
    bool go_on = true;
    while (go_on && next_ < attempts_.size() && !won_) {
      const std::size_t failed_before = failed_;
      Attempt& attempt = attempts_[next_++];
      attempt.task.start(attempt).resume();
      go_on = stagger_ == Clock::duration::zero() || failed_ > failed_before;
    }
    starting_ = false;
    loop_.cancel_call(std::exchange(timer_, 0));
    if (over()) return drop_all();
    if (next_ == attempts_.size()) return;
    timer_ = loop_.call_at(Clock::now() + stagger_, [this] {
      timer_ = 0;
      start_next();
      if (over()) waiter_.resume();
    });
  }

  std::coroutine_handle<> completed(Attempt& attempt) noexcept {
    Result<T> result = std::move(attempt.task.result());
    attempt.task = {};  // what a failed attempt held, a socket, is not to wait for the others
    if (result) {
      if (!won_) won_ = *std::move(result);
    } else {
      attempt.failure = std::move(result).error();
      ++failed_;
    }
    if (starting_) return std::noop_coroutine();  // start_next() looks for itself
    if (won_) {
      drop_all();
    } else {
      start_next();
    }
    if (over()) return waiter_;
    return std::noop_coroutine();
  }

  void drop_all() noexcept {
    loop_.cancel_call(std::exchange(timer_, 0));
    for (Attempt& attempt : attempts_) attempt.task = {};
  }

  EventLoop& loop_;
  const Clock::duration stagger_;
  std::deque<Attempt> attempts_;  // a deque: attempts are pointed to, and cannot move
  std::size_t next_ = 0;          // the first that has not been started
  std::size_t failed_ = 0;
  bool starting_ = false;
  std::optional<T> won_;
  EventLoop::TimerId timer_ = 0;
  std::coroutine_handle<> waiter_;
};

}  // namespace ferry
