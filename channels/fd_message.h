// Descriptors in the control part of a message.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "ferry/channel.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// Room for the descriptors of one message. Used for one sendmsg or recvmsg, and as long as that.
class FdMessage {
 public:
  FdMessage() = default;
  FdMessage(const FdMessage&) = delete;
  FdMessage& operator=(const FdMessage&) = delete;

  /// Puts copies of `fds`, at most FdPassing::k_most and at least one, into a message to be sent.
  void put(std::span<const int> fds, msghdr& into) noexcept;

  /// Makes room in a message to be received into.
  void make_room(msghdr& message) noexcept;
  /// What came with a message that was received.
  static std::vector<UniqueFd> take(msghdr& message);

 private:
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(FdPassing::k_most * sizeof(int))> bytes_;
};

}  // namespace ferry
