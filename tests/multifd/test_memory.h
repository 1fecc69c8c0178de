// Guest memory for tests, and what it may hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ferry/memory.h"
#include "ferry/unique_fd.h"

namespace ferry::test {

/// How Ferry reaches the memory: through a mapping, or by a descriptor alone.
enum class Reach { mapping, descriptor };

using Bytes = std::vector<std::byte>;

/// Regions of the given lengths, all zeros at first. A mapping is just as long as its region, so
/// that the address sanitizer knows its end.
class TestMemory {
 public:
  TestMemory(Reach reach, const std::vector<std::uint64_t>& lengths);
  TestMemory(const TestMemory&) = delete;

  const GuestMemory& memory() const noexcept { return memory_; }
  /// All of each region, in order.
  std::vector<PageRun> runs() const;

  void write(RegionId region, std::uint64_t offset, std::span<const std::byte> bytes);
  Bytes read(const PageRun& run) const;
  std::vector<Bytes> content() const;

 private:
  std::vector<Bytes> mappings_;
  std::vector<UniqueFd> files_;
  GuestMemory memory_;
};

/// What units of memory look like.
enum class Picture {
  noise,    ///< no unit like another
  mixed,    ///< stretches of noise and of zeros, of all lengths
  stripes,  ///< noise and zeros by turns
  sparse,   ///< a unit of noise here and there
  zeros,
};
constexpr Picture k_pictures[] = {Picture::noise, Picture::mixed, Picture::stripes, Picture::sparse,
                                  Picture::zeros};

/// Fills all regions anew. The same picture and seed give the same bytes.
void paint(TestMemory& memory, Picture picture, unsigned seed);

/// Of all regions.
bool same_bytes(const std::vector<Bytes>& left, const std::vector<Bytes>& right);

/// Bytes that look like nothing in particular, and the same for the same seed.
Bytes noise_bytes(std::size_t bytes, unsigned seed);

constexpr PageRun units(std::uint64_t first, std::uint64_t count, RegionId region = 0) {
  return {region, first * k_unit_bytes, count * k_unit_bytes};
}

}  // namespace ferry::test
