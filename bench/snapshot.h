// Snapshots in a file, beside what fio and cp do with one on the same file system.
#pragma once

#include "bench/cases.h"
#include "ferry/result.h"

namespace ferry::bench {

/// migrate-send to file://, beside fio's sequential writes of as many bytes, and --check of what it
/// wrote, beside fio's read of the same stretches of the same file: same engine, size of block,
/// depth and jobs, buffered and direct. Visibly skipped where there is no fio.
Result<void> snapshot_and_fio(const Plan& plan, const Report& report);

/// An image into a snapshot, and out of it again, each beside `cp --sparse=always` and a sync.
Result<void> snapshot_and_cp(const Plan& plan, const Report& report);

/// Random memory into a file, beside QEMU's migration of as much into one. Visibly skipped where
/// there is no QEMU.
Result<void> snapshot_and_qemu(const Plan& plan, const Report& report);

/// Single pages of a snapshot, in no order, each verified: how long one takes.
Result<void> snapshot_pages(const Plan& plan, const Report& report);

}  // namespace ferry::bench
