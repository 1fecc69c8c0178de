// The kernel's readiness interfaces, each behind one page of C++: io_uring, epoll and poll.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "ferry/channel.h"
#include "ferry/event_loop.h"
#include "ferry/result.h"

namespace ferry {

/// Reports once for every arm(). Used by the loop's thread alone, but for wake().
///
/// What an implementation must keep (others fell into each of these):
/// - Several arms of one fd are merged where the kernel wants it so: a second EPOLL_CTL_ADD is
///   EEXIST, and poll takes no more entries than there may be descriptors.
/// - After disarm() returns, the cookie is never reported. A disarm reaches the kernel before it
///   returns, and the caller disarms before it closes the fd: an fd armed in io_uring and then
///   closed keeps the peer waiting.
/// - No submission stays queued, neither when wait() is left nor when arm() is: an unsubmitted arm
///   keeps the ring's own fd silent, which breaks embedding in another loop.
/// - A thread that has armed something may end while another waits for it.
/// - EINTR is not an error: wait() goes on, or returns no events.
/// - An error or hang-up on the fd is reported as readiness for all that was wanted.
/// - A descriptor that cannot be waited for (a regular file) is always ready.
class Poller {
 public:
  struct Event {
    std::uint64_t cookie;
    Interest ready;
  };

  virtual ~Poller() = default;

  /// Reports `cookie` once when `fd` is ready for any of `want` (not none). Cookies are the
  /// caller's, unique among those that are armed.
  virtual Result<void> arm(int fd, Interest want, std::uint64_t cookie) = 0;
  virtual void disarm(std::uint64_t cookie) noexcept = 0;

  /// Blocks until something is ready, `deadline` passes (time_point::max(): none), or wake(). May
  /// return earlier, with no events. The events are valid until the next wait(): arm() and disarm()
  /// leave them alone.
  virtual Result<std::span<const Event>> wait(Clock::time_point deadline) = 0;

  /// Thread-safe. Ends the current or the next wait().
  virtual void wake() noexcept = 0;

  /// A descriptor that poll(2) and its like find readable whenever wait() would return at once; now
  /// and then also when there is nothing to report. It stays the poller's, and nobody reads it.
  /// Errc::unsupported where there is none.
  virtual Result<int> fd() = 0;

  /// What it is made of; never automatic.
  virtual PollerKind kind() const noexcept = 0;
};

/// Errc::unsupported, naming why, where `kind` cannot be had here. Automatic takes the first that
/// can, of io_uring, epoll and poll.
Result<std::unique_ptr<Poller>> make_poller(PollerKind kind);

// Each in its own file.
Result<std::unique_ptr<Poller>> make_io_uring_poller();
Result<std::unique_ptr<Poller>> make_epoll_poller();
Result<std::unique_ptr<Poller>> make_poll_poller();

}  // namespace ferry
