// RDMA, beside what perftest gets out of the same device.
#pragma once

#include "bench/cases.h"
#include "ferry/result.h"

namespace ferry::bench {

/// Memory to memory over rdma://, pages put in their place in requests of 1 MiB and proved by
/// checksums on both sides, beside ib_write_bw with as many messages of that size; and what it
/// costs the receiver beside tcp. Nothing is reported, but said, where there is no device or no
/// ib_write_bw.
Result<void> rdma_placed(const Plan& plan, const Report& report);

}  // namespace ferry::bench
