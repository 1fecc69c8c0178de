// Is every byte of a snapshot as it was written?
#pragma once

#include <functional>
#include <stop_token>

#include "snapshot/snapshot_reader.h"

namespace ferry {

/// See Snapshot::check().
Result<SnapshotCheck> check_snapshot(const SnapshotReader& reader, unsigned lanes,
                                     const std::stop_token& stop,
                                     const std::function<void(std::uint64_t)>& progress);

}  // namespace ferry
