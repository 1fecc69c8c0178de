// The checksums of a snapshot's pages, in the order in which a lane asks for them.
#pragma once

#include <cstdint>
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

  /// Of a run of whole units, all of them present and with their checksums in one block: one for
  /// each, until the next call. Errc::integrity where the block is damaged itself.
  Result<std::span<const std::uint64_t>> of(const PageRun& run);
  /// The front of a run: as much as has its checksums in one block.
  static PageRun in_one_block(PageRun run) noexcept;
  /// The block that of() looked into last: where it failed, the damaged one.
  const ChecksumBlock& last() const noexcept { return last_; }

 private:
  const SnapshotReader& reader_;
  ChecksumBlock last_;
  bool loaded_ = false;
  std::vector<std::uint64_t> block_;  // that one, once it is loaded
};

}  // namespace ferry
