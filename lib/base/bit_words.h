// Bits in words of 64: as bitmaps have them in memory, in files, and as KVM gives them.
#pragma once

#include <cstdint>

namespace ferry {

inline constexpr std::uint64_t k_word_bits = 64;

/// How many words hold so many bits.
constexpr std::uint64_t words_for(std::uint64_t bits) noexcept {
  return bits / k_word_bits + (bits % k_word_bits != 0);
}

}  // namespace ferry
