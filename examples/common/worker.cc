#include "common/worker.h"

#include <ferry/memory.h>

#include <algorithm>
#include <utility>

namespace example {
namespace {

constexpr std::chrono::nanoseconds k_interval = std::chrono::milliseconds(1);
/// A worker that was held up makes good what it missed, up to this.
constexpr std::chrono::nanoseconds k_arrears = std::chrono::milliseconds(10);

}  // namespace

Pace Pace::of(std::uint64_t bytes_per_second) noexcept {
  if (bytes_per_second == 0) return {0, k_interval};
  const std::uint64_t steps_per_second =
      std::chrono::nanoseconds(std::chrono::seconds(1)) / k_interval;
  const std::uint64_t pages =
      std::max<std::uint64_t>(1, bytes_per_second / ferry::k_unit_bytes / steps_per_second);
  const double seconds =
      static_cast<double>(pages * ferry::k_unit_bytes) / static_cast<double>(bytes_per_second);
  return {pages, std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9))};
}

void Heartbeats::beat(Clock::time_point now) noexcept {
  if (count > 0) longest_gap = std::max(longest_gap, std::chrono::nanoseconds(now - last));
  last = now;
  ++count;
}

Worker::Worker(Pace pace, std::function<ferry::Result<void>()> step)
    : pace_(pace), step_(std::move(step)), thread_([this] { loop(); }) {}

Worker::~Worker() {
  want(Wanted::end);
  thread_.join();
}

void Worker::resume() { want(Wanted::run); }

ferry::Result<void> Worker::pause() {
  want(Wanted::pause);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return still_; });
  if (failure_) return std::unexpected(*failure_);
  return {};
}

void Worker::throttle(unsigned percent) {
  const std::lock_guard lock(mutex_);
  throttle_ = std::min(percent, 99u);
}

void Worker::want(Wanted what) {
  const std::lock_guard lock(mutex_);
  wanted_ = what;
  changed_.notify_all();
}

std::chrono::nanoseconds Worker::interval() const {
  return pace_.interval * 100 / (100 - throttle_);
}

void Worker::loop() {
  std::unique_lock lock(mutex_);
  Clock::time_point next = Clock::now();
  while (wanted_ != Wanted::end) {
    if (wanted_ == Wanted::pause || failure_) {
      still_ = true;
      changed_.notify_all();
      changed_.wait(lock);
      next = Clock::now();
      continue;
    }
    still_ = false;
    // Woken before its time only by somebody who wants something else.
    if (Clock::now() < next) {
      changed_.wait_until(lock, next);
      continue;
    }
    lock.unlock();
    auto stepped = step_();
    const auto now = Clock::now();
    heartbeats_.beat(now);
    lock.lock();
    if (!stepped) failure_ = std::move(stepped).error();
    next = std::max(next + interval(), now - k_arrears);
  }
}

}  // namespace example
