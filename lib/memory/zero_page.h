// Is this memory all zeros? The question that a migration asks of every page.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace ferry {

/// Are all bytes zero? Any length and alignment; stops within a few hundred bytes of the first that
/// is not. Uses the widest instructions that this processor has. Thread-safe.
bool is_zero(std::span<const std::byte> bytes) noexcept;

/// One way to answer, for tests and benchmarks that compare them.
struct ZeroScan {
  std::string_view name;
  bool (*is_zero)(std::span<const std::byte> bytes) noexcept;
};

/// Those that this processor can run, the fastest first. The last one is plain C++.
std::span<const ZeroScan> zero_scans() noexcept;

}  // namespace ferry
