// All pages of a snapshot, read over several lanes and verified.
#pragma once

#include <functional>
#include <stop_token>
#include <vector>

#include "snapshot/lane_crew.h"
#include "snapshot/snapshot_reader.h"

namespace ferry {

/// What becomes of pages that were read. Its calls come from the lanes' threads, beside each other.
class PageSink {
 public:
  virtual ~PageSink() = default;
  /// Where a run of whole units may be read to: memory that begins on a unit, or nothing, for a
  /// buffer of the lane's own.
  virtual std::span<std::byte> room_for(const PageRun& units) = 0;
  /// It was read, and these of its units, by their offsets in the region, are damaged.
  virtual Result<void> take(const PageRun& units, std::span<const std::byte> bytes,
                            const std::vector<std::uint64_t>& damaged) = 0;
  /// The checksums of a run cannot be read, being damaged themselves.
  virtual Result<void> lost(const PageRun& units, const Error& why) = 0;
};

/// Reads every unit that is present, each once, over `lanes` lanes; blocks until `sink` has taken
/// all of them, or the first failure. A stop request is Errc::cancelled. Gives what each lane did.
Result<std::vector<LaneReport>> read_pages(const SnapshotReader& reader, unsigned lanes,
                                           const std::stop_token& stop, PageSink& sink);

}  // namespace ferry
