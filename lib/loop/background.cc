#include "loop/background.h"

#include <future>

namespace ferry {

struct Background::Running final : detail::Completion {
  explicit Running(Task<void> what) : task(std::move(what)) {}
  std::coroutine_handle<> completed() noexcept override { return std::noop_coroutine(); }
  Task<void> task;
};

Background::Background(EventLoop& loop, Task<void> task)
    : loop_(loop), running_(std::make_shared<Running>(std::move(task))) {
  loop_.post([running = running_] { running->task.start(*running).resume(); });
}

Background::~Background() {
  std::promise<void> dropped;
  loop_.post([&] {
    running_->task = {};
    dropped.set_value();
  });
  dropped.get_future().wait();
}

}  // namespace ferry
