#include "ferry/bandwidth.h"

#include <algorithm>

namespace ferry {
namespace {

// What an idle line may save up, in seconds of its rate: it makes up for a thread that woke late.
constexpr double k_burst_seconds = 0.02;

}  // namespace

BandwidthLimit::BandwidthLimit(std::uint64_t bytes_per_second) noexcept : rate_(bytes_per_second) {}

void BandwidthLimit::set(std::uint64_t bytes_per_second) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    refill(Clock::now());  // what has passed counts at the old rate
    rate_ = bytes_per_second;
    ++changes_;
  }
  changed_.notify_all();
}

std::uint64_t BandwidthLimit::bytes_per_second() const noexcept {
  const std::scoped_lock lock(mutex_);
  return rate_;
}

void BandwidthLimit::acquire(std::uint64_t bytes, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (rate_ > 0 && !stop.stop_requested()) {
    const auto now = Clock::now();
    refill(now);
    if (credit_ >= 0) break;
    const std::chrono::duration<double> owed(-credit_ / static_cast<double>(rate_));
    // At most an hour at a time: a clock's range is not to be overrun by a tiny rate.
    const auto due = now + std::chrono::ceil<Clock::duration>(
                               std::min(owed, std::chrono::duration<double>(3600)));
    const std::uint64_t before = changes_;
    changed_.wait_until(lock, stop, due, [&] { return changes_ != before; });
  }
  if (rate_ > 0) credit_ -= static_cast<double>(bytes);
}

void BandwidthLimit::refill(Clock::time_point now) noexcept {
  const std::chrono::duration<double> passed = now - refilled_;
  refilled_ = now;
  const auto rate = static_cast<double>(rate_);
  credit_ = rate_ == 0 ? 0 : std::min(credit_ + passed.count() * rate, k_burst_seconds * rate);
}

}  // namespace ferry
