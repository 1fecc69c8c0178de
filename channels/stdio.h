// The channel over this process's standard input and output.
#pragma once

#include <memory>

#include "ferry/transport.h"

namespace ferry {

/// The transport `stdio`, the other side of `exec`: standard input and output, which are a socket
/// or two pipes, are the line. From then on they are the channel's alone: descriptors 0 and 1 are
/// /dev/null, so that no stray word gets into the line. Anything else there (a terminal, a file) is
/// Errc::usage, and so is a second use. One line to a peer.
std::unique_ptr<Transport> make_stdio_transport();

}  // namespace ferry
