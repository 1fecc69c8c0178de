// Channels over RDMA.
#pragma once

#include <memory>

#include "ferry/runtime.h"
#include "ferry/transport.h"

namespace ferry {

/// The transport `rdma`. A name is connected to by the first of its addresses that a device serves
/// and that answers; an empty host listens on all addresses that devices serve; port 0 takes a free
/// port. Its channels have PlacedIo and PlacedTarget.
///
/// Where this build has none it knows its scheme only, and answers Errc::unreachable: "connect
/// rdma://node7:4446: this build has no RDMA".
std::unique_ptr<Transport> make_rdma_transport(const RdmaOptions& options = {});

}  // namespace ferry
