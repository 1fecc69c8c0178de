#include "session/progress_watch.h"

#include <algorithm>
#include <utility>

#include "session/pulse.h"

namespace ferry {
namespace {

Task<void> watch(EventLoop& loop, std::chrono::milliseconds timeout,
                 std::function<std::uint64_t()> moved, std::function<void()> stalled) {
  std::uint64_t before = 0;
  do {
    before = moved();
    co_await loop.sleep_until(Clock::now() + timeout);
  } while (moved() != before);
  stalled();
}

}  // namespace

ProgressWatch::ProgressWatch(EventLoop& loop, std::chrono::milliseconds timeout,
                             std::function<std::uint64_t()> moved, std::function<void()> stalled)
    : watch_(loop, watch(loop, std::max<std::chrono::milliseconds>(timeout, k_shortest_silence),
                         std::move(moved), std::move(stalled))) {}

}  // namespace ferry
