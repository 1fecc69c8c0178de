// What many Tasks bring, for the one that waits for it.
#pragma once

#include <coroutine>
#include <deque>
#include <memory>
#include <utility>

#include "ferry/event_loop.h"

namespace ferry {

/// Things in the order in which they came, for one Task that asks. Of the loop's thread alone.
template <class T>
class Arrivals {
 public:
  explicit Arrivals(EventLoop& loop) : loop_(loop) {}

  void add(T arrival) {
    state_->queue.push_back(std::move(arrival));
    // Not from within the Task that brings it. It may have been taken meanwhile, with one before
    // it.
    loop_.post([state = state_] {
      if (state->waiting && !state->queue.empty()) std::exchange(state->waiting, {}).resume();
    });
  }

 private:
  struct State {
    std::deque<T> queue;
    std::coroutine_handle<> waiting;
  };

 public:
  /// co_await of it gives the next arrival.
  class Next {
   public:
    explicit Next(Arrivals& arrivals) : state_(arrivals.state_) {}
    Next(const Next&) = delete;
    Next& operator=(const Next&) = delete;
    ~Next() { state_->waiting = {}; }
    bool await_ready() const noexcept { return !state_->queue.empty(); }
    void await_suspend(std::coroutine_handle<> waiting) noexcept { state_->waiting = waiting; }
    T await_resume() {
      T next = std::move(state_->queue.front());
      state_->queue.pop_front();
      return next;
    }

   private:
    std::shared_ptr<State> state_;
  };

 private:
  EventLoop& loop_;
  std::shared_ptr<State> state_ = std::make_shared<State>();  // shared with what is posted
};

}  // namespace ferry
