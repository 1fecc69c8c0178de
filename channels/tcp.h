// Channels over TCP.
#pragma once

#include <memory>

#include "ferry/transport.h"

namespace ferry {

/// The transport `tcp`. An empty host listens on all addresses, of IPv4 and of IPv6; port 0 takes a
/// free one. Nothing answers a hello here: a channel is finished as soon as it is connected.
std::unique_ptr<Transport> make_tcp_transport();

}  // namespace ferry
