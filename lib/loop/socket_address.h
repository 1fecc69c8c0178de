// Socket addresses as values, and what the kernel is asked about them.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ferry/event_loop.h"
#include "ferry/result.h"
#include "ferry/task.h"
#include "ferry/uri.h"

namespace ferry {

/// An address of any family, with its true length.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const noexcept { return storage.ss_family; }
  friend bool operator==(const SocketAddress& one, const SocketAddress& other) noexcept;
};

/// The address of a UNIX socket: a path, or '@name' for an abstract one. Errc::usage where the
/// kernel has no room for it; `act` begins the error.
Result<SocketAddress> unix_address(std::string_view path, const std::string& act);

/// All addresses on this host: IPv6's, or IPv4's.
SocketAddress any_address(int family, std::uint16_t port) noexcept;

/// How names become addresses; resolve() is the one that asks the system.
using Resolver =
    std::function<Task<std::vector<SocketAddress>>(EventLoop&, std::string, std::uint16_t)>;

/// The addresses of a host, in the order in which they should be tried. A name is looked up on a
/// helper thread; a number is not. Errc::unreachable: "resolve 'nosuch.invalid': name or service
/// not known".
Task<std::vector<SocketAddress>> resolve(EventLoop& loop, std::string host, std::uint16_t port);

/// Our end, and the peer's, of a socket. Of length 0 where the kernel has none to tell.
SocketAddress local_address(int socket) noexcept;
SocketAddress peer_address(int socket) noexcept;

/// The port of an IPv4 or IPv6 address, else 0.
std::uint16_t port_of(const SocketAddress& address) noexcept;
/// The same IPv4 or IPv6 address with another port.
SocketAddress with_port(SocketAddress address, std::uint16_t port) noexcept;

/// Does the address stand for all addresses of the host?
bool is_any(const SocketAddress& address) noexcept;

/// Does only this host reach it?
bool is_loopback(const SocketAddress& address) noexcept;

/// Who can come to a socket that is bound there.
Reach reach_of(const SocketAddress& bound) noexcept;

/// "192.0.2.1" or "2001:db8::1", without a port. IPv4 that came in on an IPv6 socket is shown as
/// IPv4.
std::string host_text(const SocketAddress& address);

/// "tcp://192.0.2.1:4446", where the scheme is "tcp".
std::string uri_text(std::string_view scheme, const SocketAddress& address);

}  // namespace ferry
