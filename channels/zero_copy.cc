#include "channels/zero_copy.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace ferry {

bool ZeroCopyAccount::worthwhile() noexcept {
  if (state_ == State::untried) {
    const int yes = 1;
    const bool there = ::setsockopt(fd_, SOL_SOCKET, SO_ZEROCOPY, &yes, sizeof yes) == 0;
    state_ = there ? State::on : State::off;
  }
  return state_ == State::on;
}

void ZeroCopyAccount::collect() noexcept {
  while (outstanding() && take_notification()) {
  }
}

/// False when there is none.
bool ZeroCopyAccount::take_notification() noexcept {
  alignas(cmsghdr) char control[256];
  msghdr message{};
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (::recvmsg(fd_, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return errno == EINTR;
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr;
       item = CMSG_NXTHDR(&message, item)) {
    const bool is_error = (item->cmsg_level == SOL_IP && item->cmsg_type == IP_RECVERR) ||
                          (item->cmsg_level == SOL_IPV6 && item->cmsg_type == IPV6_RECVERR);
    if (!is_error) continue;
    sock_extended_err told;
    std::memcpy(&told, CMSG_DATA(item), sizeof told);
    if (told.ee_origin != SO_EE_ORIGIN_ZEROCOPY) continue;
    // Calls are numbered from 0, modulo 2^32; a notification is for a range of them.
    const std::uint64_t calls = std::uint64_t{told.ee_data - told.ee_info} + 1;
    const bool first = returned_ == 0;
    returned_ += calls;
    if ((told.ee_code & SO_EE_CODE_ZEROCOPY_COPIED) == 0) continue;
    fallbacks_.fetch_add(calls, std::memory_order_relaxed);
    if (first && !insisting_.load(std::memory_order_relaxed)) state_ = State::off;
  }
  return true;
}

}  // namespace ferry
