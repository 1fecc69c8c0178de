// Channels over vsock: between a virtual machine and its host, with no network.
#pragma once

#include <memory>

#include "ferry/transport.h"

namespace ferry {

/// The transport `vsock`. The host part of a URI is a context id (cid): 2 is the host, seen from a
/// guest; 1 is this machine itself, where vsock_loopback is loaded; a guest's own is what its
/// monitor gave it. Port 0 takes a free one of 1024 to 65535. An empty host listens for all cids;
/// the listener's URI then names this machine's own cid, or 1 where it has none. It serves the
/// other side, and this one where vsock_loopback is loaded.
std::unique_ptr<Transport> make_vsock_transport();

}  // namespace ferry
