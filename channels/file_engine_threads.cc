#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <utility>
#include <vector>

#include "base/bounded_queue.h"
#include "channels/file_engine.h"
#include "loop/thread.h"

namespace ferry {
namespace {

// A lane has this many at most: more only wait for each other.
constexpr unsigned k_most_threads = 4;

/// A pool of threads, each in one preadv(2) or pwritev(2) at a time.
class ThreadEngine final : public FileEngine {
 public:
  explicit ThreadEngine(unsigned depth) : requests_(depth), completions_(depth) {}
  ThreadEngine(const ThreadEngine&) = delete;
  ThreadEngine& operator=(const ThreadEngine&) = delete;
  ~ThreadEngine() override {
    requests_.close();
    completions_.close();
    for (std::thread& thread : threads_) thread.join();
  }

  Result<void> open(unsigned depth) {
    for (unsigned i = 0; i < std::min(depth, k_most_threads); ++i) {
      threads_.push_back(FERRY_TRY(start_thread("ferry-file", [this] { serve(); })));
    }
    return {};
  }

  Result<void> submit(const FileRequest& request) override {
    requests_.push(request);
    return {};
  }
  Result<FileCompletion> wait() override {
    return *completions_.pop();  // only the destructor closes it
  }
  FileEngineKind kind() const noexcept override { return FileEngineKind::threads; }

 private:
  void serve() {
    while (const auto request = requests_.pop()) {
      const iovec bytes{request->bytes.data(), request->bytes.size()};
      const auto at = static_cast<off_t>(request->offset);
      const ssize_t moved = request->direction == FileRequest::Direction::read
                                ? ::preadv(request->fd, &bytes, 1, at)
                                : ::pwritev(request->fd, &bytes, 1, at);
      completions_.push({request->cookie, moved < 0 ? -std::int64_t{errno} : moved});
    }
  }

  BoundedQueue<FileRequest> requests_;
  BoundedQueue<FileCompletion> completions_;
  std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<FileEngine>> make_thread_engine(const FileEngineSetting& setting) {
  auto engine = std::make_unique<ThreadEngine>(setting.depth);
  FERRY_TRY(engine->open(setting.depth));
  return engine;
}

}  // namespace ferry
