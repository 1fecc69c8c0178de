#include "loop/alarm.h"

#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

namespace ferry {
namespace {

void set_timer(int timer, Clock::time_point when) noexcept {
  using std::chrono::nanoseconds;
  itimerspec setting{};  // zeros: never
  if (when != Clock::time_point::max()) {
    // Clock counts as CLOCK_MONOTONIC does. A time that has passed is due at once, but not zero.
    const nanoseconds at = std::max<nanoseconds>(when.time_since_epoch(), nanoseconds(1));
    const auto seconds = std::chrono::floor<std::chrono::seconds>(at);
    setting.it_value = {.tv_sec = seconds.count(), .tv_nsec = (at - seconds).count()};
  }
  ::timerfd_settime(timer, TFD_TIMER_ABSTIME, &setting, nullptr);
}

}  // namespace

Result<Alarm> Alarm::create(Poller& poller, std::uint64_t cookie) {
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return fail_sys(Errc::system, errno, "create a timerfd");
  FERRY_TRY(poller.arm(timer.get(), Interest::read, cookie));
  return Alarm(poller, cookie, std::move(timer));
}

Alarm::Alarm(Poller& poller, std::uint64_t cookie, UniqueFd timer) noexcept
    : poller_(&poller), cookie_(cookie), timer_(std::move(timer)) {}

void Alarm::set(Clock::time_point when) noexcept {
  if (when == when_) return;
  when_ = when;
  set_timer(timer_.get(), when);
}

Result<void> Alarm::renew() {
  when_ = Clock::time_point::max();
  set_timer(timer_.get(), when_);  // no more readable: the count of expirations goes with it
  return poller_->arm(timer_.get(), Interest::read, cookie_);
}

}  // namespace ferry
