#include "ferry/io_thread.h"

#include <utility>

#include "loop/thread.h"

namespace ferry {

// The thread ends the loop, too: what its Tasks own is destroyed where it was used.
Result<std::unique_ptr<IoThread>> IoThread::create(const std::string& name, PollerKind poller) {
  auto loop = FERRY_TRY(EventLoop::create(poller));
  std::unique_ptr<IoThread> made(new IoThread(std::move(loop)));
  made->thread_ = FERRY_TRY(start_thread(name.c_str(), [self = made.get()] {
    do {
      self->loop_->run();
    } while (!self->is_closing());
    self->loop_.reset();
  }));
  return made;
}

IoThread::IoThread(std::unique_ptr<EventLoop> loop) noexcept : loop_(std::move(loop)) {}

IoThread::~IoThread() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(closing_);
    told_to_close_ = true;
    loop_->stop();
  }
  thread_.join();
}

bool IoThread::is_closing() {
  const std::scoped_lock lock(closing_);
  return told_to_close_;
}

void IoThread::spawn(Task<void> task, std::move_only_function<void(Result<void>)> done) {
  loop_->post([loop = loop_.get(), task = std::move(task), done = std::move(done)]() mutable {
    loop->spawn(std::move(task), std::move(done));
  });
}

}  // namespace ferry
