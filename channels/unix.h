// Channels over UNIX sockets.
#pragma once

#include <memory>

#include "ferry/transport.h"

namespace ferry {

/// The transport `unix`: a path, or an abstract name ('@name'), which needs no file and vanishes
/// with its socket. A listener's path is unlinked with it, and a stale one, left by a process that
/// was killed, is replaced. Two listeners that begin on one stale path at the same instant may both
/// succeed, and the later one then has it.
std::unique_ptr<Transport> make_unix_transport();

}  // namespace ferry
