// The transport over any verbs: a test has its own.
#pragma once

#include <memory>

#include "ferry/runtime.h"
#include "ferry/transport.h"
#include "rdma/verbs.h"

namespace ferry {

std::unique_ptr<Transport> make_rdma_transport_over(std::shared_ptr<Verbs> verbs,
                                                    const RdmaOptions& options);

}  // namespace ferry
