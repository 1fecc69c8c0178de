#include "ferry/io_thread.h"

#include <utility>

#include "loop/thread.h"

namespace ferry {

// The thread ends the loop, too: what its Tasks own is destroyed where it was used.
Result<std::unique_ptr<IoThread>> IoThread::create(const std::string& name, PollerKind poller) {
  std::unique_ptr<IoThread> made(new IoThread(FERRY_TRY(EventLoop::create(poller))));
  made->thread_ = FERRY_TRY(start_thread(name.c_str(), [&loop = made->loop_] {
    loop->run();
    loop.reset();
  }));
  return made;
}

IoThread::IoThread(std::unique_ptr<EventLoop> loop) noexcept : loop_(std::move(loop)) {}

IoThread::~IoThread() {
  if (!thread_.joinable()) return;
  loop_->stop();
  thread_.join();
}

void IoThread::spawn(Task<void> task, std::move_only_function<void(Result<void>)> done) {
  loop_->post([loop = loop_.get(), task = std::move(task), done = std::move(done)]() mutable {
    loop->spawn(std::move(task), std::move(done));
  });
}

}  // namespace ferry
