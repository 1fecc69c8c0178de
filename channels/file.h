// Files that guests are put in and taken from.
#pragma once

#include <memory>

#include "ferry/place.h"
#include "ferry/transport.h"

namespace ferry {

/// The transport `file`: `file:///path`. It has places and no peers: connect() and listen() are
/// Errc::unsupported.
std::unique_ptr<Transport> make_file_transport(FileOptions options);

}  // namespace ferry
