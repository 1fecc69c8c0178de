// Sockets without Ferry, for what stands on the other side.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <filesystem>

#include "ferry/unique_fd.h"
#include "loop/socket_address.h"

namespace ferry::test {

/// Listens on a free port of 127.0.0.1, with room for no more than `backlog` + 1 that wait.
inline UniqueFd raw_listener(int backlog) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), backlog) != 0) {
    return UniqueFd();
  }
  return fd;
}

/// Connects, and says nothing.
inline UniqueFd raw_connection(const SocketAddress& to) {
  UniqueFd fd(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), to.get(), to.length) != 0) return UniqueFd();
  return fd;
}

inline std::size_t open_descriptors() {
  using Entries = std::filesystem::directory_iterator;
  return static_cast<std::size_t>(std::distance(Entries("/proc/self/fd"), Entries()));
}

}  // namespace ferry::test
