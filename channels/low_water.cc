#include "channels/low_water.h"

#include <sys/socket.h>

#include <algorithm>

namespace ferry {
namespace {

// Half of what tcp_rmem allows by default is the most that a mark may be.
constexpr int k_room_bytes = 3 << 20;

}  // namespace

void LowWater::set(std::size_t bytes) noexcept {
  if (bytes > 1 && most_ == 0) make_room();
  const int wanted = static_cast<int>(std::clamp<std::size_t>(bytes, 1, std::max(most_, 1)));
  if (wanted == mark_) return;
  if (::setsockopt(socket_, SOL_SOCKET, SO_RCVLOWAT, &wanted, sizeof wanted) == 0) mark_ = wanted;
}

/// Linux makes the receive window as large as the mark where it was smaller (tcp_set_rcvlowat), and
/// a sender never fills a window to the last byte: a mark must be well below it. So the mark is
/// once set to much more than will be asked for.
void LowWater::make_room() noexcept {
  most_ = 1;
  if (::setsockopt(socket_, SOL_SOCKET, SO_RCVLOWAT, &k_room_bytes, sizeof k_room_bytes) != 0) {
    return;
  }
  int granted = 1;
  socklen_t length = sizeof granted;
  ::getsockopt(socket_, SOL_SOCKET, SO_RCVLOWAT, &granted, &length);
  mark_ = granted;
  most_ = std::max(1, granted / 3);
}

}  // namespace ferry
