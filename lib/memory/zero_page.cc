#include "memory/zero_page.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ferry {
namespace {

std::uint64_t load_word(const std::byte* at) noexcept {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

bool is_zero_portable(std::span<const std::byte> bytes) noexcept {
  constexpr std::size_t k_block = 8 * sizeof(std::uint64_t);
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= k_block; at += k_block, left -= k_block) {
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < k_block; i += sizeof seen) seen |= load_word(at + i);
    if (seen != 0) return false;
  }
  return std::all_of(at, at + left, [](std::byte b) { return b == std::byte{0}; });
}

#if defined(__x86_64__)

// The compiler must not use these instructions anywhere but here, hence the attribute and not a
// flag for the file; an ifunc would run before the sanitizers are ready. AVX-512 is faster in the
// first level of the cache only, and memory is what gets scanned.

[[gnu::target("avx2")]] __m256i load_256(const std::byte* at) noexcept {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

[[gnu::target("avx2")]] bool block_is_zero_avx2(const std::byte* at) noexcept {
  const __m256i low = _mm256_or_si256(load_256(at), load_256(at + 32));
  const __m256i high = _mm256_or_si256(load_256(at + 64), load_256(at + 96));
  const __m256i seen = _mm256_or_si256(low, high);
  return _mm256_testz_si256(seen, seen) != 0;
}

[[gnu::target("avx2")]] bool is_zero_avx2(std::span<const std::byte> bytes) noexcept {
  constexpr std::size_t k_block = 128;
  if (bytes.size() < k_block) return is_zero_portable(bytes);
  const std::byte* const last = bytes.data() + (bytes.size() - k_block);
  for (const std::byte* at = bytes.data(); at < last; at += k_block) {
    if (!block_is_zero_avx2(at)) return false;
  }
  return block_is_zero_avx2(last);  // overlaps the block before it: no tail
}

#endif

}  // namespace

std::span<const ZeroScan> zero_scans() noexcept {
#if defined(__x86_64__)
  static constexpr std::array<ZeroScan, 2> k_scans = {ZeroScan{"avx2", is_zero_avx2},
                                                      ZeroScan{"portable", is_zero_portable}};
  const std::span<const ZeroScan> scans(k_scans);
  return __builtin_cpu_supports("avx2") ? scans : scans.subspan(1);
#else
  static constexpr std::array<ZeroScan, 1> k_scans = {ZeroScan{"portable", is_zero_portable}};
  return k_scans;
#endif
}

bool is_zero(std::span<const std::byte> bytes) noexcept {
  static const ZeroScan fastest = zero_scans().front();
  return fastest.is_zero(bytes);
}

}  // namespace ferry
