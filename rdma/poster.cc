#include "rdma/poster.h"

#include <utility>

#include "loop/thread.h"

namespace ferry {

Poster::Poster(QueuePair& pair, std::function<void(Error)> failed)
    : pair_(pair), failed_(std::move(failed)) {}

Result<std::unique_ptr<Poster>> Poster::start(QueuePair& pair, std::function<void(Error)> failed) {
  std::unique_ptr<Poster> poster(new Poster(pair, std::move(failed)));
  poster->thread_ = FERRY_TRY(start_thread("ferry-rdma-post", [&one = *poster] { one.loop(); }));
  return poster;
}

Poster::~Poster() {
  {
    const std::scoped_lock lock(mutex_);
    over_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Poster::post(std::span<const SendRequest> requests) {
  {
    const std::scoped_lock lock(mutex_);
    waiting_.insert(waiting_.end(), requests.begin(), requests.end());
  }
  changed_.notify_one();
}

void Poster::loop() {
  std::vector<SendRequest> next;
  for (;;) {
    next.clear();
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return over_ || !waiting_.empty(); });
      if (over_) return;
      next.swap(waiting_);
    }
    if (auto posted = pair_.post(next); !posted) return failed_(std::move(posted).error());
  }
}

}  // namespace ferry
