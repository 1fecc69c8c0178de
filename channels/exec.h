// Channels over commands.
#pragma once

#include <memory>

#include "ferry/transport.h"

namespace ferry {

/// The transport `exec`: a shell command whose standard input and output are the line, for the side
/// that sends as for the one that receives. One line to a peer.
std::unique_ptr<Transport> make_exec_transport();

}  // namespace ferry
