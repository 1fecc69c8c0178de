#include "rdma/rdma_transport.h"

#include "rdma/transport.h"
#include "rdma/verbs.h"

namespace ferry {

std::unique_ptr<Transport> make_rdma_transport(const RdmaOptions& options) {
  return make_rdma_transport_over(make_verbs(), options);
}

}  // namespace ferry
