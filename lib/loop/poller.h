// The kernel's readiness interface, behind one page of C++. epoll today; poll and io_uring fit too.
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
/// - Several arms of one fd are merged: a second EPOLL_CTL_ADD is EEXIST.
/// - After disarm() returns, the cookie is never reported. A disarm reaches the kernel before it
///   returns, and the caller disarms before it closes the fd: an fd armed in io_uring and then
///   closed keeps the peer waiting.
/// - No submission stays queued when wait() is left: an unsubmitted arm keeps the ring's own fd
///   silent, which breaks embedding in another loop.
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
};

Result<std::unique_ptr<Poller>> make_epoll_poller();

}  // namespace ferry
