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
  // The promise is shared: the loop may still be inside set_value() when this thread goes on.
  const auto dropped = std::make_shared<std::promise<void>>();
  loop_.post([running = running_, dropped] {
    running->task = {};
    dropped->set_value();
  });
  dropped->get_future().wait();
}

}  // namespace ferry
