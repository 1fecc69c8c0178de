#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ferry/unique_fd.h"
#include "loop/armed_fds.h"
#include "loop/poll_bits.h"
#include "loop/poller.h"

namespace ferry {
namespace {

/// poll(2): the kernel keeps nothing between two waits, so that there is nothing that could be
/// stale. Each wait costs in proportion to what is armed. A descriptor has one entry for the union
/// of its arms, because the kernel takes no more entries than the process may have descriptors.
class PollPoller final : public Poller {
 public:
  explicit PollPoller(UniqueFd wake) : wake_(std::move(wake)) {
    entries_.push_back({.fd = wake_.get(), .events = POLLIN, .revents = 0});
  }

  Result<void> arm(int fd, Interest want, std::uint64_t cookie) override;
  void disarm(std::uint64_t cookie) noexcept override;
  Result<std::span<const Event>> wait(Clock::time_point deadline) override;
  void wake() noexcept override;
  Result<int> fd() override;
  PollerKind kind() const noexcept override { return PollerKind::poll; }

 private:
  void update(int fd);

  UniqueFd wake_;
  ArmedFds armed_;
  std::vector<pollfd> entries_;  // the first is wake_'s
  std::unordered_map<int, std::size_t> entry_of_;
  std::vector<Event> events_;
};

Result<void> PollPoller::arm(int fd, Interest want, std::uint64_t cookie) {
  if (::fcntl(fd, F_GETFD) < 0) {
    return fail_sys(Errc::system, errno, "wait for descriptor " + std::to_string(fd));
  }
  armed_.add(fd, want, cookie);
  update(fd);
  return {};
}

void PollPoller::disarm(std::uint64_t cookie) noexcept {
  if (const auto fd = armed_.remove(cookie)) update(*fd);
}

/// Makes the entry of `fd` what its arms want: there is none where nobody wants anything.
void PollPoller::update(int fd) {
  const Interest want = armed_.wanted(fd);
  const auto found = entry_of_.find(fd);
  if (want == Interest::none) {
    if (found == entry_of_.end()) return;
    const std::size_t gap = found->second;
    entry_of_.erase(found);
    if (gap + 1 != entries_.size()) {
      entries_[gap] = entries_.back();
      entry_of_[entries_[gap].fd] = gap;
    }
    entries_.pop_back();
  } else if (found == entry_of_.end()) {
    entry_of_.emplace(fd, entries_.size());
    entries_.push_back({.fd = fd, .events = poll_bits(want), .revents = 0});
  } else {
    entries_[found->second].events = poll_bits(want);
  }
}

Result<std::span<const Poller::Event>> PollPoller::wait(Clock::time_point deadline) {
  using std::chrono::nanoseconds;
  const Clock::time_point now = Clock::now();
  const nanoseconds left = std::max(deadline, now) - now;
  const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
  const timespec timeout{.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
  const bool bounded = deadline != Clock::time_point::max();
  events_.clear();
  const int count =
      ::ppoll(entries_.data(), entries_.size(), bounded ? &timeout : nullptr, nullptr);
  if (count < 0 && errno != EINTR) return fail_sys(Errc::system, errno, "wait for events");
  if (count <= 0) return std::span<const Event>(events_);

  if (entries_[0].revents != 0) {
    eventfd_t ignored;
    ::eventfd_read(wake_.get(), &ignored);
  }
  // From the end: update() fills the gap that it makes with the last entry, which has been seen.
  for (std::size_t i = entries_.size() - 1; i > 0; --i) {
    const pollfd entry = entries_[i];
    if (entry.revents == 0) continue;
    armed_.take(entry.fd, interest_of(entry.revents), events_);
    update(entry.fd);
  }
  return std::span<const Event>(events_);
}

// The counter would have to reach 2^64 - 1 for this to fail, and then wait() is awake anyway.
void PollPoller::wake() noexcept { ::eventfd_write(wake_.get(), 1); }

Result<int> PollPoller::fd() {
  return fail(Errc::unsupported, "embed a loop that waits by poll: it has no descriptor",
              "io_uring and epoll have one");
}

}  // namespace

Result<std::unique_ptr<Poller>> make_poll_poller() {
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail_sys(Errc::system, errno, "create an eventfd");
  return std::make_unique<PollPoller>(std::move(wake));
}

}  // namespace ferry
