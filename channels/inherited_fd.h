// Channels over sockets that the process was started with.
#pragma once

#include <memory>

#include "ferry/transport.h"

namespace ferry {

/// The transport `fd`: a stream socket that somebody else opened and left to this process.
/// Connected, it is the one line to a peer, for either side; one that listens (systemd's socket
/// activation) is a listener as any other. It belongs to the channel from then on, and is made
/// close-on-exec; the file description, which others may share, is not made non-blocking.
/// Errc::usage where it is no stream socket, or one of the three standard streams.
std::unique_ptr<Transport> make_fd_transport();

}  // namespace ferry
