// Channels over TCP.
#pragma once

#include <memory>

#include "channels/tcp_socket.h"
#include "ferry/transport.h"
#include "loop/socket_address.h"

namespace ferry {

struct TcpOptions {
  TcpKind kind = TcpKind::plain;
  Resolver resolve = &ferry::resolve;  ///< a test has names of its own
};

/// The transport `tcp`. A name is connected to by RFC 8305, and listens on all of its addresses; an
/// empty host listens on all addresses of the host, of IPv4 and of IPv6; port 0 takes a port that
/// is free on each of them. Nothing answers a hello here: a channel is finished as soon as it is
/// connected. Where a channel was to be multipath and is not, its info says why (`shortfall`).
std::unique_ptr<Transport> make_tcp_transport(TcpOptions options = {});

}  // namespace ferry
