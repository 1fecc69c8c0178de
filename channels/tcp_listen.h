// Listening on all addresses of a name, as one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "channels/tcp_socket.h"
#include "ferry/result.h"
#include "ferry/unique_fd.h"
#include "loop/socket_address.h"

namespace ferry {

/// Sockets that listen on each of the addresses, which have one port: with 0 it is one that was
/// free on all of them. What this host does not have is left out, as long as there is one that it
/// has: a name may stand for more than one host, or for a family that is switched off. A port that
/// is taken on one of them is Errc::unreachable: half the senders would come to a stranger.
Result<std::vector<UniqueFd>> listen_on_all(std::vector<SocketAddress> addresses, TcpKind kind,
                                            const std::string& act);

/// The same on all addresses of the host: one socket for both families, or IPv4's alone where there
/// is no IPv6.
Result<std::vector<UniqueFd>> listen_everywhere(std::uint16_t port, TcpKind kind,
                                                const std::string& act);

}  // namespace ferry
