// Loops that are not ours, as programs have them.
#pragma once

#include <functional>
#include <memory>

namespace ferry::test {

/// A program's own event loop: it watches descriptors and calls back on the thread that runs it.
class Host {
 public:
  virtual ~Host() = default;
  /// Calls `call` whenever, and as long as, `fd` is readable. The fd outlives the Host.
  virtual void watch(int fd, std::function<void()> call) = 0;
  /// Waits for what it watches, without a time-out, until `over`, which is asked after each call.
  virtual void run_until(const std::function<bool()>& over) = 0;
};

/// The least that there is: epoll_wait, and a call for each event.
std::unique_ptr<Host> make_epoll_host();

/// GLib's main loop. Null where these tests were built without it.
std::unique_ptr<Host> make_glib_host();

}  // namespace ferry::test
