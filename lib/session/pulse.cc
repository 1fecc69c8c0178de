#include "session/pulse.h"

#include <algorithm>

#include "loop/thread.h"

namespace ferry {
namespace {

constexpr std::chrono::seconds k_interval{1};

Task<void> watch(EventLoop& loop, const Liveness& liveness, std::chrono::milliseconds timeout,
                 std::function<void()> silent) {
  while (true) {
    const Clock::time_point due = liveness.last() + timeout;
    if (due <= Clock::now()) break;
    co_await loop.sleep_until(due);
  }
  silent();
}

}  // namespace

Pulse::Pulse(EventLoop& loop, const Liveness& liveness, std::chrono::milliseconds timeout,
             std::function<void()> beat, std::function<void()> silent)
    : loop_(loop),
      liveness_(liveness),
      timeout_(std::max<std::chrono::milliseconds>(timeout, k_shortest_silence)),
      beat_(std::move(beat)),
      silent_(std::move(silent)) {}

Result<void> Pulse::start() {
  thread_ = FERRY_TRY(start_thread("ferry-pulse", [this] { beat_each_second(); }));
  watch_.emplace(loop_, watch(loop_, liveness_, timeout_, silent_));
  return {};
}

Pulse::~Pulse() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Pulse::beat_each_second() {
  std::unique_lock lock(mutex_);
  auto next = Clock::now() + k_interval;
  while (!stopping_.wait_until(lock, next, [this] { return stop_; })) {
    lock.unlock();
    beat_();
    next = Clock::now() + k_interval;
    lock.lock();
  }
}

}  // namespace ferry
