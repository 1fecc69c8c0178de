// Lines over TCP that place pages: what RDMA is to a session.
#pragma once

#include <memory>

#include "ferry/transport.h"
#include "tests/multifd/placing_line.h"

namespace ferry::test {

/// `placing://host:port`, within one process: both ends of a line must be of the same transport.
std::unique_ptr<Transport> make_placing_transport(PlacingOptions options = {});

}  // namespace ferry::test
