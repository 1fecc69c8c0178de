// Large pieces of memory, compared by the C library.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>

namespace ferry::test {

/// Under a sanitizer a loop over bytes takes a hundred times as long, and most of a test's time.
inline bool same_bytes(std::span<const std::byte> left, std::span<const std::byte> right) {
  return left.size() == right.size() &&
         (left.empty() || std::memcmp(left.data(), right.data(), left.size()) == 0);
}

}  // namespace ferry::test
