// Channels over RDMA.
#pragma once

#include <memory>

#include "ferry/transport.h"

namespace ferry {

/// The transport `rdma`. For now it knows its scheme only, and answers Errc::unreachable: "connect
/// rdma://node7:4446: this build has no RDMA".
std::unique_ptr<Transport> make_rdma_transport();

}  // namespace ferry
