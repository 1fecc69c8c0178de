// How much a TCP socket must hold before it counts as readable.
#pragma once

#include <cstddef>

namespace ferry {

/// The low-water mark of one socket (SO_RCVLOWAT, socket(7)). poll(2) heeds it, and so does a
/// recvmsg(2) that blocks; that one may sleep for ever though, because the kernel wakes it only for
/// so many bytes that are *new*, and part of them it may have copied already. So a raised mark is
/// for poll() alone. Used by the reading thread.
class LowWater {
 public:
  /// Borrows a socket.
  explicit LowWater(int socket) noexcept : socket_(socket) {}

  /// Sets the mark to `bytes` (at least 1), or to what the socket's buffer allows. Where the socket
  /// knows no such thing it stays at 1.
  void set(std::size_t bytes) noexcept;
  bool raised() const noexcept { return mark_ > 1; }

 private:
  /// Makes the buffer larger than any mark. The first time only.
  void make_room() noexcept;

  const int socket_;
  int mark_ = 1;
  int most_ = 0;  // 0: make_room() has not been called
};

}  // namespace ferry
