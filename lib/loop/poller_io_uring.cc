#include <fcntl.h>
#include <liburing.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cassert>
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

constexpr unsigned k_submissions = 64;    // at most one is queued at a time, unless memory is short
constexpr unsigned k_completions = 1024;  // more than that wait in the kernel

// What comes back with a completion: one of these, or the serial number of an arm. Not its cookie:
// that may be armed anew while the completion of its last arm is still on the way.
constexpr std::uint64_t k_of_no_interest = 0;
constexpr std::uint64_t k_wake = 1;
constexpr std::uint64_t k_first_arm = 2;

struct RingExit {
  void operator()(io_uring* ring) const noexcept {
    io_uring_queue_exit(ring);
    delete ring;
  }
};
using Ring = std::unique_ptr<io_uring, RingExit>;

/// io_uring: a one-shot poll request for each arm, submitted at once. The ring is in its plainest
/// mode, for a thread may make it, another run it, and a third take it down.
class IoUringPoller final : public Poller {
 public:
  IoUringPoller(Ring ring, UniqueFd wake) noexcept
      : ring_(std::move(ring)), wake_(std::move(wake)) {}

  Result<void> arm(int fd, Interest want, std::uint64_t cookie) override;
  void disarm(std::uint64_t cookie) noexcept override;
  Result<std::span<const Event>> wait(Clock::time_point deadline) override;
  void wake() noexcept override;
  Result<int> fd() override;
  PollerKind kind() const noexcept override { return PollerKind::io_uring; }

 private:
  struct Arm {
    std::uint64_t cookie;
    int fd;
    Interest want;
  };

  template <class Prepare>
  int request(std::uint64_t data, Prepare prepare);
  int submit();
  Result<void> watch(int fd, Interest want, std::uint64_t data);
  Result<void> watch_wake();
  Result<void> watch_lost();
  int enter(Clock::time_point deadline);
  void reap();
  void take(std::uint64_t serial, int outcome);

  Ring ring_;
  UniqueFd wake_;
  bool wake_watched_ = false;
  std::uint64_t next_serial_ = k_first_arm;
  std::unordered_map<std::uint64_t, Arm> arms_;                 // by serial number
  std::unordered_map<std::uint64_t, std::uint64_t> serial_of_;  // by cookie
  std::vector<std::uint64_t> lost_;                             // serial numbers to submit again
  std::vector<Event> ready_;                                    // for the next wait()
  std::vector<Event> events_;                                   // of the last one
};

/// Hands one request to the kernel: 0, or the negative errno with which it was not taken.
template <class Prepare>
int IoUringPoller::request(std::uint64_t data, Prepare prepare) {
  io_uring_sqe* entry = io_uring_get_sqe(ring_.get());
  if (!entry) {
    if (const int failed = submit(); failed != 0) return failed;
    entry = io_uring_get_sqe(ring_.get());
  }
  prepare(entry);
  io_uring_sqe_set_data64(entry, data);
  const int failed = submit();
  if (failed != 0) {
    // It stays in the queue, and would be done with the next one.
    io_uring_prep_nop(entry);
    io_uring_sqe_set_data64(entry, k_of_no_interest);
  }
  return failed;
}

int IoUringPoller::submit() {
  for (;;) {
    const int submitted = io_uring_submit(ring_.get());
    if (submitted >= 0) return 0;
    if (submitted == -EBUSY) {  // older kernels want to be rid of completions first
      io_uring_get_events(ring_.get());
      reap();
      wake();  // these are in the ring no more: whoever waits for fd() must hear of them
    } else if (submitted != -EINTR) {
      return submitted;
    }
  }
}

Result<void> IoUringPoller::watch(int fd, Interest want, std::uint64_t data) {
  const int failed = request(data, [fd, want](io_uring_sqe* entry) {
    io_uring_prep_poll_add(entry, fd, static_cast<unsigned>(poll_bits(want)));
  });
  if (failed == 0) return {};
  return fail_sys(Errc::system, -failed, "wait for descriptor " + std::to_string(fd));
}

Result<void> IoUringPoller::arm(int fd, Interest want, std::uint64_t cookie) {
  assert(want != Interest::none && !serial_of_.contains(cookie));
  // The ring would tell only later.
  if (::fcntl(fd, F_GETFD) < 0) {
    return fail_sys(Errc::system, errno, "wait for descriptor " + std::to_string(fd));
  }
  const std::uint64_t serial = next_serial_++;
  FERRY_TRY(watch(fd, want, serial));
  arms_.emplace(serial, Arm{cookie, fd, want});
  serial_of_.emplace(cookie, serial);
  return {};
}

void IoUringPoller::disarm(std::uint64_t cookie) noexcept {
  std::erase_if(ready_, [cookie](const Event& event) { return event.cookie == cookie; });
  const auto found = serial_of_.find(cookie);
  if (found == serial_of_.end()) return;
  const std::uint64_t serial = found->second;
  arms_.erase(serial);
  serial_of_.erase(found);
  // Now, for the caller will close the fd, and the request holds it open. EAGAIN: the kernel is
  // short of memory, and there is no going on before it has some.
  while (request(k_of_no_interest, [serial](io_uring_sqe* entry) {
           io_uring_prep_poll_remove(entry, serial);
         }) == -EAGAIN) {
  }
}

Result<std::span<const Poller::Event>> IoUringPoller::wait(Clock::time_point deadline) {
  FERRY_TRY(watch_wake());
  const int outcome = enter(ready_.empty() ? deadline : Clock::time_point::min());
  if (outcome < 0 && outcome != -ETIME && outcome != -EINTR && outcome != -EAGAIN) {
    return fail_sys(Errc::system, -outcome, "wait for events");
  }
  reap();
  events_.clear();
  events_.swap(ready_);
  FERRY_TRY(watch_lost());
  FERRY_TRY(watch_wake());  // so that a wake() between two waits is seen at fd()
  return std::span<const Event>(events_);
}

int IoUringPoller::enter(Clock::time_point deadline) {
  using std::chrono::nanoseconds;
  const Clock::time_point now = Clock::now();
  if (deadline <= now) return io_uring_get_events(ring_.get());
  const nanoseconds left = deadline - now;
  const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
  __kernel_timespec timeout{.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
  const bool bounded = deadline != Clock::time_point::max();
  io_uring_cqe* first = nullptr;
  return io_uring_submit_and_wait_timeout(ring_.get(), &first, 1, bounded ? &timeout : nullptr,
                                          nullptr);
}

/// Takes all completions out of the ring, those too that did not fit and wait in the kernel.
void IoUringPoller::reap() {
  io_uring_cqe* completion = nullptr;
  while (io_uring_peek_cqe(ring_.get(), &completion) == 0) {
    const std::uint64_t data = io_uring_cqe_get_data64(completion);
    const int outcome = completion->res;
    io_uring_cqe_seen(ring_.get(), completion);
    if (data == k_wake) {
      wake_watched_ = false;
      eventfd_t ignored;
      ::eventfd_read(wake_.get(), &ignored);
    } else {
      take(data, outcome);
    }
  }
}

void IoUringPoller::take(std::uint64_t serial, int outcome) {
  const auto found = arms_.find(serial);
  if (found == arms_.end()) return;  // disarmed, or of no interest
  if (outcome == -ECANCELED) {
    // Not by disarm(): the thread that armed it has ended, and the kernel dropped it.
    lost_.push_back(serial);
    return;
  }
  const Arm arm = found->second;
  const Interest ready = outcome < 0 ? Interest::both : interest_of(outcome);
  ready_.push_back({arm.cookie, common(arm.want, ready)});
  serial_of_.erase(arm.cookie);
  arms_.erase(found);
}

Result<void> IoUringPoller::watch_lost() {
  for (const std::uint64_t serial : std::exchange(lost_, {})) {
    const auto found = arms_.find(serial);
    if (found == arms_.end()) continue;  // disarmed since
    FERRY_TRY(watch(found->second.fd, found->second.want, serial));
  }
  return {};
}

// Not when the ring is made: the request belongs to the thread that submits it.
Result<void> IoUringPoller::watch_wake() {
  if (std::exchange(wake_watched_, true)) return {};
  return watch(wake_.get(), Interest::read, k_wake);
}

// The counter would have to reach 2^64 - 1 for this to fail, and then wait() is awake anyway.
void IoUringPoller::wake() noexcept { ::eventfd_write(wake_.get(), 1); }

Result<int> IoUringPoller::fd() {
  FERRY_TRY(watch_wake());
  return ring_->ring_fd;
}

std::unexpected<Error> cannot(int error) {
  std::string why;
  if (error == EPERM || error == EACCES) {
    why = "a seccomp filter or the sysctl kernel.io_uring_disabled forbids it";
  } else if (error == ENOSYS) {
    why = "this kernel has none, or a seccomp filter hides it";
  } else if (error == ENOMEM) {
    why = "is the limit of locked memory too small?";
  }
  return fail_sys(Errc::unsupported, error, "wait by io_uring", why);
}

}  // namespace

Result<std::unique_ptr<Poller>> make_io_uring_poller() {
  io_uring_params params{};
  params.flags = IORING_SETUP_CQSIZE;
  params.cq_entries = k_completions;
  auto memory = std::make_unique<io_uring>();
  const int made = io_uring_queue_init_params(k_submissions, memory.get(), &params);
  if (made < 0) return cannot(-made);
  Ring ring(memory.release());
  // Nothing is lost when completions overflow, and a wait has its own time-out: Linux 5.11.
  constexpr unsigned k_needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
  if ((params.features & k_needed) != k_needed) return cannot(ENOSYS);
  // A filter may allow to make a ring and not to enter it.
  if (const int entered = io_uring_get_events(ring.get()); entered < 0) return cannot(-entered);
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail_sys(Errc::system, errno, "create an eventfd");
  return std::make_unique<IoUringPoller>(std::move(ring), std::move(wake));
}

}  // namespace ferry
