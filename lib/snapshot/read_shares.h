// Who reads what of a snapshot.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "ferry/memory.h"

namespace ferry {

/// Deals the runs of present units out to lanes, each once and in the order of the file;
/// thread-safe.
///
/// With one share lanes take turns along one way. With a share each, every lane has a stretch of
/// its own; who is at the end of his takes over the rear half of what most is left of.
class ReadShares {
 public:
  /// `present` is borrowed, and does not change. At least one share, and no more than there are
  /// lanes: lane i begins with share i modulo their number.
  ReadShares(const PageBitmap& present, const Layout& layout, unsigned shares);

  /// The next run for this lane: whole units, LaneCrew::k_work_bytes at most. Nothing: what is left
  /// is others' to read. Lanes that all go on until then have read everything.
  std::optional<PageRun> next(unsigned lane);

 private:
  /// What is not taken of it, in units of all regions, which lie one behind the other.
  struct Share {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint64_t left() const noexcept { return end - begin; }
  };

  std::optional<PageRun> take_from(Share& share) const;
  std::optional<PageRun> first_run(std::uint64_t from) const;
  bool take_over(Share& share);

  const PageBitmap& present_;
  std::vector<std::uint64_t> region_begins_;  // and their end
  std::mutex mutex_;                          // guards the rest
  std::vector<Share> shares_;
};

}  // namespace ferry
