#include "session/progress_ticks.h"

#include <chrono>
#include <utility>

namespace ferry {
namespace {

Task<void> tick(EventLoop& loop, std::function<void(const Progress&)> tell,
                std::function<Progress()> progress) {
  while (true) {
    co_await loop.sleep_until(Clock::now() + std::chrono::seconds(1));
    tell(progress());
  }
}

}  // namespace

ProgressTicks::ProgressTicks(EventLoop& loop, const Observer& observer,
                             std::function<Progress()> progress) {
  if (observer.progress) ticks_.emplace(loop, tick(loop, observer.progress, std::move(progress)));
}

}  // namespace ferry
