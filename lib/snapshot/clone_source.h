// Pages that a new snapshot need not write, because an image at rest has them already.
#pragma once

#include <atomic>
#include <deque>
#include <optional>

#include "base/read_lease.h"
#include "ferry/memory.h"
#include "snapshot/snapshot_writer.h"

namespace ferry {

/// Lets a snapshot share the storage of images on the same file system, where that can have a block
/// in two files. Made before the pages are read that are to be shared: a lease on each image tells
/// whether anybody may have written to it since. Once a run could not share, or somebody wants to
/// write, no other of that image does, and asking costs nothing from then on. Thread-safe.
class CloneSource {
 public:
  CloneSource(SnapshotWriter& writer, const GuestMemory& memory);

  /// Makes a run of whole units that was just read, and checksummed, share its storage. False where
  /// it does not, or may not be what was read: then it is to be put as any other.
  bool share(const PageRun& run);

 private:
  /// An image of which there is nothing to share, or nothing any more, has no lease.
  struct Image {
    std::optional<ReadLease> lease;
    // Set once, when the lease is given back, so that nobody asks the kernel for it again. Relaxed:
    // it publishes nothing, and who does not see it yet hears the same from the lease.
    std::atomic<bool> over = false;
  };
  void look_at(Image& image);
  void end(Image& image);

  SnapshotWriter& writer_;
  const GuestMemory& memory_;
  std::deque<Image> images_;           // by region
  std::atomic<std::size_t> left_ = 0;  // images that are not over; relaxed, likewise
};

}  // namespace ferry
