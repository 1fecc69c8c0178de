#include "channels/tcp_listen.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "channels/listening_sockets.h"
#include "channels/socket_connect.h"

namespace ferry {
namespace {

// A port that the kernel finds free on one address may be taken on another. So often in a row that
// is no accident any more.
constexpr int k_port_tries = 32;

/// Does an IPv6 socket on all addresses also hear IPv4?
enum class Hears { both_families, its_own };

Result<UniqueFd> listen_at(const SocketAddress& address, Hears hears, TcpKind kind,
                           const std::string& act) {
  UniqueFd fd = FERRY_TRY(open_tcp_socket(address.family(), kind, act));
  FERRY_TRY(set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, act));
  if (address.family() == AF_INET6) {
    const int only_its_own = hears == Hears::its_own ? 1 : 0;
    FERRY_TRY(set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, only_its_own, act));
  }
  if (::bind(fd.get(), address.get(), address.length) == 0 &&
      ::listen(fd.get(), ListeningSockets::k_backlog) == 0) {
    return fd;
  }
  const int sys = errno;
  return fail_sys(Errc::unreachable, sys, act,
                  sys == EADDRINUSE ? "is another migrate-recv running? choose another port" : "");
}

/// Is it the address that is wrong, for this host has none such?
bool is_not_here(const Error& error) noexcept {
  return error.sys == EAFNOSUPPORT || error.sys == EADDRNOTAVAIL;
}

/// One try. Where the port is 0, the first address that is here decides it for the others.
Result<std::vector<UniqueFd>> listen_once(const std::vector<SocketAddress>& addresses, TcpKind kind,
                                          const std::string& act) {
  const Hears hears = addresses.size() == 1 ? Hears::both_families : Hears::its_own;
  std::vector<UniqueFd> sockets;
  std::optional<Error> not_here;
  std::uint16_t port = port_of(addresses.front());
  for (const SocketAddress& address : addresses) {
    Result<UniqueFd> fd = listen_at(with_port(address, port), hears, kind, act);
    if (fd) {
      port = port_of(local_address(fd->get()));
      sockets.push_back(*std::move(fd));
    } else if (is_not_here(fd.error())) {
      if (!not_here) not_here = std::move(fd).error();
    } else {
      return std::unexpected(std::move(fd).error());
    }
  }
  if (sockets.empty()) return std::unexpected(*std::move(not_here));
  return sockets;
}

std::vector<SocketAddress> each_once(const std::vector<SocketAddress>& addresses) {
  std::vector<SocketAddress> once;
  for (const SocketAddress& address : addresses) {
    if (std::ranges::find(once, address) == once.end()) once.push_back(address);
  }
  return once;
}

}  // namespace

Result<std::vector<UniqueFd>> listen_on_all(std::vector<SocketAddress> addresses, TcpKind kind,
                                            const std::string& act) {
  addresses = each_once(addresses);
  if (addresses.empty()) return fail(Errc::unreachable, act + ": the name has no address");
  const bool any_port = port_of(addresses.front()) == 0;
  for (int tries = 1;; ++tries) {
    auto sockets = listen_once(addresses, kind, act);
    if (sockets) return sockets;
    if (!any_port || sockets.error().sys != EADDRINUSE || tries == k_port_tries) return sockets;
  }
}

Result<std::vector<UniqueFd>> listen_everywhere(std::uint16_t port, TcpKind kind,
                                                const std::string& act) {
  auto both = listen_on_all({any_address(AF_INET6, port)}, kind, act);
  if (both || !is_not_here(both.error())) return both;
  return listen_on_all({any_address(AF_INET, port)}, kind, act);
}

}  // namespace ferry
