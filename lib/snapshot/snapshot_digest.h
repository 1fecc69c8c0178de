// The digest of a region as a snapshot has it.
#pragma once

#include <stop_token>

#include "snapshot/snapshot_reader.h"

namespace ferry {

/// The same as digest_of() of the memory that was saved (memory/region_io.h), from what is in the
/// snapshot, which is verified on the way. A stop request is Errc::cancelled.
Result<std::array<std::byte, 16>> digest_of(const SnapshotReader& reader, RegionId region,
                                            const std::stop_token& stop);

}  // namespace ferry
