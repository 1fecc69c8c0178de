// The checksums of a snapshot's pages, in the order in which a lane asks for them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ferry/memory.h"
#include "snapshot/snapshot_reader.h"

namespace ferry {

/// Keeps the block of the table that it read last: short runs that follow one another have theirs
/// in the same one. Used by one thread at a time, and for no longer than the reader lives.
class ChecksumReader {
 public:
  explicit ChecksumReader(const SnapshotReader& reader) : reader_(reader) {}

  /// Of a run of whole units, all of them present: one for each, until the next call.
  /// Errc::integrity where they are damaged themselves.
  Result<std::span<const std::uint64_t>> of(const PageRun& run);

 private:
  /// Where the block lies.
  struct Where {
    RegionId region = 0;
    std::uint64_t block = 0;
    friend bool operator==(const Where&, const Where&) = default;
  };

  const SnapshotReader& reader_;
  std::optional<Where> kept_;
  std::vector<std::uint64_t> block_;  // at kept_
  std::vector<std::uint64_t> asked_;
};

}  // namespace ferry
