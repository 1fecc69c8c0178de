// rdma-core's part of verbs.h that is libibverbs and not the connection manager.
#pragma once

#include <memory>

#include "rdma/verbs.h"

struct ibv_context;
struct rdma_cm_id;

namespace ferry {

/// The context is librdmacm's, and stays open as long as the process.
Result<std::unique_ptr<RdmaDomain>> make_verbs_domain(ibv_context* device);

/// `domain` is of make_verbs_domain(), and of the connection's device. It goes before `id`.
Result<std::unique_ptr<QueuePair>> make_verbs_queue_pair(rdma_cm_id* id, RdmaDomain& domain,
                                                         QueueLengths lengths);

}  // namespace ferry
