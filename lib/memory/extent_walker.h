// Regions cut into runs: where there is data, and where there are holes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ferry/memory.h"
#include "ferry/result.h"

namespace ferry {

/// A part of a region, as its file system tells it.
struct Extent {
  PageRun run;
  bool hole = false;  ///< no storage behind any of it: it reads as zeros, and need not be read
  friend bool operator==(const Extent&, const Extent&) = default;
};

/// Walks the holes and the data of a region, from its start to its end, asking the file system only
/// as it goes: twice for each hole and the data behind it. Of mapped shared memory the kernel is
/// asked before that what is resident, and that is told as data in parts of 16 MiB at most: to look
/// for the end of all of it would take as long as there is data, with nothing to send meanwhile.
/// (What was swapped out is data, too, and its end is looked for.) What an extent says was so at
/// some time since the one before it was asked for. The extents are in order, touch each other,
/// begin on units of the region, and together are the region. A unit that is a hole only in part is
/// data.
///
/// All of it is data where the region has no descriptor, or one that knows no holes (block
/// devices). The memory must be what the descriptor says: a private mapping has pages of its own
/// over the file's holes, and is to be walked without its descriptor.
///
/// Borrows the descriptor, and moves its file offset, which all who share the open file share: read
/// with pread(2). Several walkers of one descriptor do not disturb each other. Used by one thread.
class ExtentWalker {
 public:
  explicit ExtentWalker(const MemoryRegion& region) noexcept;
  /// Of a part of the region only: whole units, but for the region's last.
  ExtentWalker(const MemoryRegion& region, const PageRun& part) noexcept;

  /// The next extent, or nothing at the region's end. Errc::system where the file cannot tell, or
  /// has become shorter than the region.
  Result<std::optional<Extent>> next();

 private:
  enum class Seek { data, hole };
  Result<std::optional<std::uint64_t>> seek(Seek what, std::uint64_t from);
  Result<std::uint64_t> next_data(std::uint64_t from);
  Result<std::uint64_t> next_hole(std::uint64_t from);
  Result<void> check_file_length() const;
  std::uint64_t resident_bytes(std::uint64_t from);

  RegionId region_;
  std::uint64_t length_;  // as far as it walks
  int fd_;                // -1 from when it proves to know no holes
  std::uint64_t fd_offset_;
  std::byte* host_;  // nullptr where residency says nothing
  std::uint64_t probe_bytes_;
  std::uint64_t at_ = 0;
  // Where the next data at or after at_ begins, as the last question had it: nobody asks twice.
  std::optional<std::uint64_t> data_;
};

}  // namespace ferry
