// What the guests do: they walk their memory, page by page and round and round, and write a
// sequence that they check as they go. A page that a migration lost, or that it took from another
// time or another place, does not hold what it should.
#pragma once

#include <cstdint>
#include <span>

#include "common/ram.h"

namespace example {

/// The part of memory that one worker walks, in bytes: guest addresses [begin, end), whole pages.
struct Slice {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// What `begin` to `end` is cut into, as evenly as pages allow, one slice for each of `workers`.
Slice slice_of(std::uint64_t begin, std::uint64_t end, unsigned worker, unsigned workers) noexcept;

/// Where a walk stands: `next` is the address of the page that it comes to next. The pages before
/// it were written in this pass, those from it on in the pass before. Passes count from 1; pass 0
/// is memory that nobody has walked yet.
struct Walk {
  Slice slice;
  std::uint64_t next = 0;
  std::uint64_t pass = 1;
};

/// A page of a pass holds the number of the pass in its first word, and that times its own address
/// in its last one: both are 0 in pass 0.
inline constexpr std::uint64_t k_last_word = ferry::k_unit_bytes - 8;

/// Makes `pages` steps; returns how many of the pages were not as they should be.
std::uint64_t step(const Ram& ram, Walk& walk, std::uint64_t pages) noexcept;

/// How many pages of the slice are not as they should be, while the walk stands still.
std::uint64_t count_wrong(const Ram& ram, const Walk& walk) noexcept;

/// Fills the slice with bytes that do not compress, as if it stood before the first pass.
void fill_with_noise(const Ram& ram, const Slice& slice) noexcept;

}  // namespace example
