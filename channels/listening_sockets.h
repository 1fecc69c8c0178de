// Where connections come in.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ferry/event_loop.h"
#include "ferry/result.h"
#include "ferry/task.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// The listening sockets of one listener, each at an address of its own, heard as one. Connections
/// are taken from them in turns, so that a busy address does not starve another.
class ListeningSockets {
 public:
  static constexpr int k_backlog = 1024;  ///< 255 lanes at once, and strangers

  /// They listen, and are non-blocking, or nobody else accepts from them. There is at least one.
  explicit ListeningSockets(std::vector<UniqueFd> sockets);
  explicit ListeningSockets(UniqueFd only);

  /// The next connection; this must outlive the Task. Goes on through peers that left before they
  /// were accepted, and waits where descriptors are short. The new socket is blocking and
  /// close-on-exec. Errc::system.
  Task<UniqueFd> accept(EventLoop& loop, std::string act);

  /// The one that was given first.
  int first() const noexcept { return sockets_.front().get(); }

 private:
  struct Accepted {
    UniqueFd fd;
    int sys = 0;  // where there is no fd; EAGAIN where nobody waits at any of them
  };
  Accepted accept_now();
  Task<void> someone_waits(EventLoop& loop);

  std::vector<UniqueFd> sockets_;
  std::size_t turn_ = 0;  // whose turn it is
};

}  // namespace ferry
