// Pages that a new snapshot need not write, because an image at rest has them already.
#pragma once

#include <optional>
#include <vector>

#include "base/read_lease.h"
#include "ferry/memory.h"
#include "snapshot/snapshot_writer.h"

namespace ferry {

/// Lets a snapshot share the storage of images on the same file system, where that can have a block
/// in two files. Made before the pages are read that are to be shared: a lease on each image tells
/// whether anybody may have written to it since. Thread-safe.
class CloneSource {
 public:
  CloneSource(SnapshotWriter& writer, const GuestMemory& memory);

  /// Makes a run of whole units that was just read, and checksummed, share its storage. False where
  /// it does not, or may not be what was read: then it is to be put as any other.
  bool share(const PageRun& run) const;

 private:
  SnapshotWriter& writer_;
  const GuestMemory& memory_;
  std::vector<std::optional<ReadLease>> leases_;  // by region; given back where sharing is over
};

}  // namespace ferry
