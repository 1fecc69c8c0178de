#include "channels/fd_message.h"

#include <cassert>
#include <cstring>

namespace ferry {

void FdMessage::put(std::span<const int> fds, msghdr& into) noexcept {
  assert(!fds.empty() && fds.size() <= FdPassing::k_most);
  bytes_.fill(std::byte{0});
  into.msg_control = bytes_.data();
  into.msg_controllen = CMSG_SPACE(fds.size_bytes());
  cmsghdr* const header = CMSG_FIRSTHDR(&into);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size_bytes());
  std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
}

void FdMessage::make_room(msghdr& message) noexcept {
  message.msg_control = bytes_.data();
  message.msg_controllen = bytes_.size();
}

std::vector<UniqueFd> FdMessage::take(msghdr& message) {
  std::vector<UniqueFd> fds;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace ferry
