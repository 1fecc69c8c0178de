// Interest, in the words of poll(2), which io_uring speaks too.
#pragma once

#include <poll.h>

#include "ferry/channel.h"

namespace ferry {

constexpr short poll_bits(Interest want) noexcept {
  return static_cast<short>((wants(want, Interest::read) ? POLLIN : 0) |
                            (wants(want, Interest::write) ? POLLOUT : 0));
}

/// What is wrong with a descriptor makes it ready for everything: the next call on it says what.
constexpr Interest interest_of(int ready) noexcept {
  if (ready & (POLLERR | POLLHUP | POLLNVAL)) return Interest::both;
  const Interest read = ready & POLLIN ? Interest::read : Interest::none;
  const Interest write = ready & POLLOUT ? Interest::write : Interest::none;
  return read | write;
}

}  // namespace ferry
