#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <string>
#include <utility>
#include <vector>

#include "ferry/unique_fd.h"
#include "loop/armed_fds.h"
#include "loop/poller.h"

namespace ferry {
namespace {

/// epoll, level-triggered: what the kernel watches is at all times exactly what is armed. An fd is
/// in the set once, for the union of its arms, and out of it when the last one is gone. That costs
/// two calls an arm, which is cheap for a loop of handshakes and timers, and leaves no stale
/// registration behind when an fd is closed while another process still shares it.
class EpollPoller final : public Poller {
 public:
  EpollPoller(UniqueFd epoll, UniqueFd wake) noexcept
      : epoll_(std::move(epoll)), wake_(std::move(wake)) {}

  Result<void> arm(int fd, Interest want, std::uint64_t cookie) override;
  void disarm(std::uint64_t cookie) noexcept override;
  Result<std::span<const Event>> wait(Clock::time_point deadline) override;
  void wake() noexcept override;
  Result<int> fd() override { return epoll_.get(); }
  PollerKind kind() const noexcept override { return PollerKind::epoll; }

 private:
  bool tell_kernel(int op, int fd, Interest want) noexcept;
  void update(int fd) noexcept;
  void drain_wake() noexcept;

  UniqueFd epoll_;
  UniqueFd wake_;
  ArmedFds armed_;
  std::vector<Event> always_ready_;  // arms of what epoll refuses: regular files
  std::vector<Event> events_;
};

constexpr std::uint32_t epoll_bits(Interest want) noexcept {
  return (wants(want, Interest::read) ? EPOLLIN : 0u) |
         (wants(want, Interest::write) ? EPOLLOUT : 0u);
}

constexpr Interest interest_of(std::uint32_t ready) noexcept {
  if (ready & (EPOLLERR | EPOLLHUP)) return Interest::both;
  const Interest read = ready & EPOLLIN ? Interest::read : Interest::none;
  const Interest write = ready & EPOLLOUT ? Interest::write : Interest::none;
  return read | write;
}

/// In milliseconds, as epoll counts; -1 waits for ever. Rounded up: woken before its deadline, the
/// loop would spin until it comes.
int timeout_until(Clock::time_point deadline) noexcept {
  using std::chrono::milliseconds;
  if (deadline == Clock::time_point::max()) return -1;
  const Clock::time_point now = Clock::now();
  if (deadline <= now) return 0;
  const auto left = std::chrono::ceil<milliseconds>(deadline - now);
  return static_cast<int>(std::min(left, milliseconds(INT_MAX)).count());
}

bool EpollPoller::tell_kernel(int op, int fd, Interest want) noexcept {
  epoll_event event{.events = epoll_bits(want), .data = {.fd = fd}};
  return ::epoll_ctl(epoll_.get(), op, fd, &event) == 0;
}

Result<void> EpollPoller::arm(int fd, Interest want, std::uint64_t cookie) {
  const Interest before = armed_.wanted(fd);
  if (!tell_kernel(before == Interest::none ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, before | want)) {
    if (errno != EPERM) {
      return fail_sys(Errc::system, errno, "wait for descriptor " + std::to_string(fd));
    }
    always_ready_.push_back({cookie, want});
    wake();  // whoever waits for fd() hears of it, too
    return {};
  }
  armed_.add(fd, want, cookie);
  return {};
}

void EpollPoller::disarm(std::uint64_t cookie) noexcept {
  std::erase_if(always_ready_, [cookie](const Event& event) { return event.cookie == cookie; });
  if (const auto fd = armed_.remove(cookie)) update(*fd);
}

/// After arms of `fd` have gone. A failure can only mean that the fd is gone already, and then
/// there is nothing to undo.
void EpollPoller::update(int fd) noexcept {
  const Interest left = armed_.wanted(fd);
  tell_kernel(left == Interest::none ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, fd, left);
}

Result<std::span<const Poller::Event>> EpollPoller::wait(Clock::time_point deadline) {
  std::array<epoll_event, 64> ready;
  events_ = std::exchange(always_ready_, {});
  const int timeout = events_.empty() ? timeout_until(deadline) : 0;
  const int count =
      ::epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), timeout);
  if (count < 0 && errno != EINTR) return fail_sys(Errc::system, errno, "wait for events");
  for (int i = 0; i < count; ++i) {
    const epoll_event event = ready[static_cast<std::size_t>(i)];
    if (event.data.fd == wake_.get()) {
      drain_wake();
    } else {
      armed_.take(event.data.fd, interest_of(event.events), events_);
      update(event.data.fd);
    }
  }
  return std::span<const Event>(events_);
}

void EpollPoller::drain_wake() noexcept {
  eventfd_t ignored;
  ::eventfd_read(wake_.get(), &ignored);
}

// The counter would have to reach 2^64 - 1 for this to fail, and then wait() is awake anyway.
void EpollPoller::wake() noexcept { ::eventfd_write(wake_.get(), 1); }

}  // namespace

Result<std::unique_ptr<Poller>> make_epoll_poller() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail_sys(Errc::system, errno, "create an epoll set");
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail_sys(Errc::system, errno, "create an eventfd");
  epoll_event event{.events = EPOLLIN, .data = {.fd = wake.get()}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return fail_sys(Errc::system, errno, "watch an eventfd");
  }
  return std::make_unique<EpollPoller>(std::move(epoll), std::move(wake));
}

}  // namespace ferry
