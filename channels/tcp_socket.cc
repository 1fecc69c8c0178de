#include "channels/tcp_socket.h"

#include <linux/mptcp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>

#include "channels/socket_connect.h"
#include "loop/socket_address.h"

namespace ferry {
namespace {

using namespace std::chrono_literals;

// How long a silent line lives is the session's to say: its heartbeat counts silence. These are the
// backstop, for a peer whose host went away while nobody was writing or reading. The probes begin
// after 15 s. The kernel then ends the line after k_user_timeout and no longer after `k_probes`
// (the count rules where the option is missing).
//
// k_user_timeout is long on purpose: it also counts while a peer that is alive keeps its window
// closed, and one whose disk stalls does that. Such a stall must not kill a lane soon.
constexpr std::chrono::seconds k_probe_after_idle = 15s;
constexpr std::chrono::seconds k_between_probes = 5s;
constexpr int k_probes = 4;
constexpr std::chrono::milliseconds k_user_timeout = 120s;

// A lane's packet, nearly: the kernel doubles the figure, and counts its own needs in. With half of
// it lines stood still, for an acknowledgement that the peer's kernel delayed, or while the peer
// wrote to a file; with twice as much the bytes had left the cache.
constexpr int k_little_queued_bytes = 896 * 1024;

// Not in the C library's headers of Debian 12.
constexpr int k_sol_mptcp = 284;

bool was_opened_multipath(int socket) noexcept {
  int protocol = 0;
  socklen_t length = sizeof protocol;
  return ::getsockopt(socket, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0 &&
         protocol == IPPROTO_MPTCP;
}

}  // namespace

Result<UniqueFd> open_tcp_socket(int family, TcpKind kind, const std::string& act) {
  if (kind == TcpKind::multipath) {
    // Whatever the kernel has against it (each version has another word), plain TCP tells whether
    // it is about MPTCP.
    if (auto fd = open_stream_socket(family, act, IPPROTO_MPTCP)) return fd;
  }
  return open_stream_socket(family, act);
}

Result<void> set_line_options(int socket, const std::string& act) {
  struct Option {
    int level, name, value;
  };
  // The library writes whole messages; waiting for more would only delay the last one.
  const Option options[] = {
      {IPPROTO_TCP, TCP_NODELAY, 1},
      {SOL_SOCKET, SO_KEEPALIVE, 1},
      {IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(k_probe_after_idle.count())},
      {IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(k_between_probes.count())},
      {IPPROTO_TCP, TCP_KEEPCNT, k_probes},
      {IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(k_user_timeout.count())},
  };
  const bool multipath = was_opened_multipath(socket);
  for (const Option& option : options) {
    Result<void> done = set_option(socket, option.level, option.name, option.value, act);
    // MPTCP takes more of them with every kernel; it can do without a backstop.
    const bool unknown =
        !done && (done.error().sys == ENOPROTOOPT || done.error().sys == EOPNOTSUPP);
    if (!done && !(multipath && unknown)) return done;
  }
  return {};
}

void queue_little_to_own_address(int socket) noexcept {
  const SocketAddress local = local_address(socket);
  if (local.family() != AF_INET && local.family() != AF_INET6) return;
  if (host_text(local) != host_text(peer_address(socket))) return;
  ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &k_little_queued_bytes, sizeof k_little_queued_bytes);
}

bool is_multipath(int socket) noexcept {
  mptcp_info info{};
  socklen_t length = sizeof info;
  // Refused for a socket that has become plain TCP because its peer is; some kernels set a flag.
  return ::getsockopt(socket, k_sol_mptcp, MPTCP_INFO, &info, &length) == 0 &&
         (info.mptcpi_flags & MPTCP_INFO_FLAG_FALLBACK) == 0;
}

std::string why_not_multipath() {
  if (open_stream_socket(AF_INET, {}, IPPROTO_MPTCP)) return "the peer speaks plain TCP, not MPTCP";
  return "this host has no MPTCP, the line is plain TCP (sysctl net.mptcp.enabled tells)";
}

}  // namespace ferry
