// An EventLoop that runs in a thread of its own while a test goes on.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <utility>

#include "ferry/event_loop.h"

namespace ferry::test {

class LoopThread {
 public:
  LoopThread() : loop_(EventLoop::create().value()), thread_([this] { loop_->run(); }) {}
  ~LoopThread() {
    loop_->stop();
    thread_.join();
  }

  EventLoop& loop() { return *loop_; }

  /// Runs the task on the loop and waits for its Result.
  template <class T>
  Result<T> run(Task<T> task) {
    return block_on(*loop_, std::move(task));
  }

 private:
  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
};

}  // namespace ferry::test
