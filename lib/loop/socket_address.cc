#include "loop/socket_address.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "base/escape.h"
#include "ferry/uri.h"

namespace ferry {
namespace {

const sockaddr_in& as_v4(const SocketAddress& address) noexcept {
  return reinterpret_cast<const sockaddr_in&>(address.storage);
}
const sockaddr_in6& as_v6(const SocketAddress& address) noexcept {
  return reinterpret_cast<const sockaddr_in6&>(address.storage);
}

SocketAddress address_of(const sockaddr* from, socklen_t length) noexcept {
  SocketAddress address;
  std::memcpy(&address.storage, from, std::min<std::size_t>(length, sizeof address.storage));
  address.length = length;
  return address;
}

/// What getaddrinfo said.
struct Lookup {
  int code = EAI_FAIL;  // 0 or EAI_...
  int sys = 0;          // with EAI_SYSTEM
  std::vector<SocketAddress> addresses;
};

/// Blocks, unless `flags` has AI_NUMERICHOST.
Lookup look_up(const std::string& host, std::uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  // Not AI_ADDRCONFIG: it hides ::1 on a host whose only IPv6 address that is.
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  Lookup lookup;
  lookup.code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (lookup.code == EAI_SYSTEM) lookup.sys = errno;
  if (lookup.code != 0) return lookup;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, ::freeaddrinfo);
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    lookup.addresses.push_back(address_of(entry->ai_addr, entry->ai_addrlen));
  }
  return lookup;
}

std::unexpected<Error> lookup_failed(const std::string& host, const Lookup& lookup) {
  std::string act = "resolve " + in_quotes(host);
  if (lookup.code == EAI_SYSTEM) return fail_sys(Errc::unreachable, lookup.sys, std::move(act));
  std::string why = ::gai_strerror(lookup.code);
  if (!why.empty()) why[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(why[0])));
  return fail(Errc::unreachable, act + ": " + why);
}

}  // namespace

bool operator==(const SocketAddress& one, const SocketAddress& other) noexcept {
  return one.length == other.length && std::memcmp(&one.storage, &other.storage, one.length) == 0;
}

Result<SocketAddress> unix_address(std::string_view path, const std::string& act) {
  const bool abstract = path.starts_with('@');
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path == "@") return fail(Errc::usage, act + ": the socket has no name");
  if (!abstract && path.contains('\0')) {
    return fail(Errc::usage, act + ": the path has a zero byte in it");
  }
  constexpr std::size_t k_most = sizeof address.sun_path - 1;  // a zero ends, or begins, the name
  if (path.size() - (abstract ? 1 : 0) > k_most) {
    return fail(Errc::usage, act + ": the socket's path is longer than " + std::to_string(k_most) +
                                 " bytes, the most that the kernel takes");
  }
  std::ranges::copy(path, address.sun_path);
  if (abstract) address.sun_path[0] = '\0';
  const std::size_t length = offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1);
  return address_of(reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(length));
}

SocketAddress any_address(int family, std::uint16_t port) noexcept {
  if (family == AF_INET6) {
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_addr = in6addr_any;
    any.sin6_port = htons(port);
    return address_of(reinterpret_cast<const sockaddr*>(&any), sizeof any);
  }
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_ANY);
  any.sin_port = htons(port);
  return address_of(reinterpret_cast<const sockaddr*>(&any), sizeof any);
}

Task<std::vector<SocketAddress>> resolve(EventLoop& loop, std::string host, std::uint16_t port) {
  Lookup number = look_up(host, port, AI_NUMERICHOST);
  if (number.code == 0) co_return std::move(number.addresses);

  // Shared with the helper thread, which goes on alone when this Task is dropped.
  auto lookup = std::make_shared<Lookup>();
  std::function<void()> blocking = [lookup, host, port] { *lookup = look_up(host, port, 0); };
  co_await loop.on_helper_thread(std::move(blocking));
  if (lookup->code != 0) co_return lookup_failed(host, *lookup);
  co_return std::move(lookup->addresses);
}

SocketAddress local_address(int socket) noexcept {
  SocketAddress address;
  address.length = sizeof address.storage;
  auto* storage = reinterpret_cast<sockaddr*>(&address.storage);
  if (::getsockname(socket, storage, &address.length) != 0) return {};
  return address;
}

SocketAddress peer_address(int socket) noexcept {
  SocketAddress address;
  address.length = sizeof address.storage;
  auto* storage = reinterpret_cast<sockaddr*>(&address.storage);
  if (::getpeername(socket, storage, &address.length) != 0) return {};
  return address;
}

std::uint16_t port_of(const SocketAddress& address) noexcept {
  if (address.family() == AF_INET) return ntohs(as_v4(address).sin_port);
  if (address.family() == AF_INET6) return ntohs(as_v6(address).sin6_port);
  return 0;
}

SocketAddress with_port(SocketAddress address, std::uint16_t port) noexcept {
  if (address.family() == AF_INET) {
    reinterpret_cast<sockaddr_in&>(address.storage).sin_port = htons(port);
  } else if (address.family() == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(address.storage).sin6_port = htons(port);
  }
  return address;
}

namespace {

/// The IPv4 address that it is, as a number; IPv6 has a form for these, too.
std::optional<std::uint32_t> v4_of(const SocketAddress& address) noexcept {
  if (address.family() == AF_INET) return ntohl(as_v4(address).sin_addr.s_addr);
  if (address.family() != AF_INET6) return std::nullopt;
  const in6_addr& v6 = as_v6(address).sin6_addr;
  if (!IN6_IS_ADDR_V4MAPPED(&v6)) return std::nullopt;
  in_addr_t v4 = 0;
  std::memcpy(&v4, v6.s6_addr + 12, sizeof v4);
  return ntohl(v4);
}

}  // namespace

bool is_any(const SocketAddress& address) noexcept {
  if (const auto v4 = v4_of(address)) return *v4 == INADDR_ANY;
  return address.family() == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&as_v6(address).sin6_addr);
}

bool is_loopback(const SocketAddress& address) noexcept {
  if (const auto v4 = v4_of(address)) return *v4 >> 24 == IN_LOOPBACKNET;
  return address.family() == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&as_v6(address).sin6_addr);
}

Reach reach_of(const SocketAddress& bound) noexcept {
  if (is_any(bound)) return Reach::every_address;
  const bool internet = bound.family() == AF_INET || bound.family() == AF_INET6;
  return internet && !is_loopback(bound) ? Reach::this_address : Reach::this_host;
}

std::string host_text(const SocketAddress& address) {
  std::array<char, NI_MAXHOST> host{};
  if (::getnameinfo(address.get(), address.length, host.data(), host.size(), nullptr, 0,
                    NI_NUMERICHOST) != 0) {
    return {};
  }
  std::string_view text(host.data());
  constexpr std::string_view k_mapped = "::ffff:";
  if (text.starts_with(k_mapped) && text.contains('.')) text.remove_prefix(k_mapped.size());
  return std::string(text);
}

std::string uri_text(std::string_view scheme, const SocketAddress& address) {
  Uri uri;
  uri.scheme = scheme;
  uri.host = host_text(address);
  if (uri.host.empty()) return "an unknown " + uri.scheme + " peer";
  uri.port = port_of(address);
  return uri.text();
}

}  // namespace ferry
