// All pages of a snapshot, read over several lanes and verified.
#pragma once

#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "ferry/report.h"
#include "snapshot/snapshot_reader.h"

namespace ferry {

/// What becomes of pages that were read. Its calls come from the lanes' threads, beside each other.
class PageSink {
 public:
  virtual ~PageSink() = default;
  /// Where a run of whole units may be read to: memory that begins on a unit, or nothing, for a
  /// buffer of the lane's own.
  virtual std::span<std::byte> room_for(const PageRun& units) = 0;
  /// It was read, and these of its units, by their offsets in the region, are damaged. Gives back
  /// where the lane shall put the bytes that it read, from the first one on: a run of a region that
  /// is outside, of whole units; or nothing, where it has nothing to do with them any more.
  virtual Result<std::optional<PageRun>> take(const PageRun& units,
                                              std::span<const std::byte> bytes,
                                              const std::vector<std::uint64_t>& damaged) = 0;
  /// Before take(), where what was read cannot be verified: this block of checksums is damaged
  /// itself. A sink that goes on is given its pages with the others.
  virtual Result<void> lost(const ChecksumBlock& block, const Error& why) = 0;
};

/// How all pages are read.
struct PageReading {
  unsigned lanes = 1;
  std::stop_token stop{};  ///< a request is Errc::cancelled
  /// The lanes' regions behind the snapshot's own: see Place::lane().
  std::span<const MemoryRegion> outside{};
};

/// Reads every unit that is present, each once; blocks until `sink` has taken all of them and the
/// lanes have put them where it said, or the first failure. Gives what each lane did.
Result<std::vector<LaneReport>> read_pages(const SnapshotReader& reader, const PageReading& reading,
                                           PageSink& sink);

}  // namespace ferry
