// The bytes of a region, whichever way they are reached: through its mapping, or by its descriptor.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <stop_token>
#include <string>

#include "base/checksum.h"
#include "ferry/memory.h"
#include "ferry/result.h"

namespace ferry {

/// What errors of reading and writing a region call it: its path, or its name if it has none.
const std::string& shown_as(const MemoryRegion& region);

/// The bytes of a run that GuestMemory::check passed: in place where the region is mapped,
/// otherwise read into `staging`, which must have room for them. Errc::system when the file has
/// become shorter or cannot be read.
Result<std::span<const std::byte>> view(const MemoryRegion& region, const PageRun& run,
                                        std::span<std::byte> staging);

/// Lets the kernel begin to read a run of a region that has no mapping: a hint, well before it is
/// read, for several who take turns in a file seem to the kernel to read in no order.
void read_ahead(const MemoryRegion& region, const PageRun& run) noexcept;

/// Writes bytes to a region that has no mapping. Errc::system, with the disk's own reason.
Result<void> store(const MemoryRegion& region, std::uint64_t offset,
                   std::span<const std::byte> bytes);

/// Makes a run read as zeros; gives its blocks back where the memory can.
Result<void> clear(const MemoryRegion& region, const PageRun& run);

/// The digest of a region, made of its units piece by piece, in order: see digest_of().
class RegionDigest {
 public:
  /// The bytes at `offset`, which is a multiple of a unit.
  void add(std::uint64_t offset, std::span<const std::byte> bytes);
  std::array<std::byte, 16> value() const noexcept { return digest_.value(); }

 private:
  StreamDigest digest_;
};

/// A digest of a region's content: XXH3-128 over every unit that is not all zeros, in order, each
/// preceded by its offset as eight little-endian bytes. Holes cost nothing, then. A stop request
/// ends it with Errc::cancelled.
Result<std::array<std::byte, 16>> digest_of(const MemoryRegion& region, std::stop_token stop);

}  // namespace ferry
