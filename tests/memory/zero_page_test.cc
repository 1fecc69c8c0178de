#include "memory/zero_page.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace ferry {
namespace {

class ZeroScanTest : public testing::TestWithParam<ZeroScan> {};

INSTANTIATE_TEST_SUITE_P(Every, ZeroScanTest,
                         testing::ValuesIn(zero_scans().begin(), zero_scans().end()),
                         [](const auto& scan) { return std::string(scan.param.name); });

/// Checks one length at one alignment: zeros, and a one in every position. What lies around is not
/// zero, so that a look past either end is seen.
void check(const ZeroScan& scan, std::size_t length, std::size_t alignment) {
  std::vector<std::byte> memory(64 + alignment + length + 64, std::byte{0xff});
  const auto misfit = reinterpret_cast<std::uintptr_t>(memory.data()) % 64;
  const std::span<std::byte> bytes =
      std::span(memory).subspan((64 - misfit) % 64 + alignment, length);
  std::ranges::fill(bytes, std::byte{0});
  ASSERT_TRUE(scan.is_zero(bytes)) << length << " bytes, aligned to " << alignment;
  for (std::size_t at = 0; at < length; ++at) {
    bytes[at] = std::byte{1} << (at % 8);
    ASSERT_FALSE(scan.is_zero(bytes)) << length << " bytes, a one in " << at;
    bytes[at] = std::byte{0};
  }
}

TEST_P(ZeroScanTest, SeesAOneInEveryPositionOfEveryLength) {
  for (std::size_t length = 0; length <= 300; ++length) {
    for (std::size_t alignment = 0; alignment <= 32; ++alignment) {
      ASSERT_NO_FATAL_FAILURE(check(GetParam(), length, alignment));
    }
  }
}

TEST_P(ZeroScanTest, SeesAOneInEveryPositionOfAUnit) {
  for (const std::size_t alignment : {0, 1, 8, 31, 63}) {
    for (const std::size_t length : {4095, 4096, 4097}) {
      ASSERT_NO_FATAL_FAILURE(check(GetParam(), length, alignment));
    }
  }
}

TEST_P(ZeroScanTest, ReadsNothingBeyondTheEnds) {
  // For the address sanitizer: exactly as long as asked for.
  for (const std::size_t length : {1, 7, 8, 63, 64, 65, 127, 128, 129, 255, 4096, 4097}) {
    const auto memory = std::make_unique<std::byte[]>(length);
    EXPECT_TRUE(GetParam().is_zero(std::span(memory.get(), length)));
  }
}

TEST(ZeroPage, OfNothingIsZero) { EXPECT_TRUE(is_zero({})); }

TEST(ZeroPage, UsesOneOfTheScans) {
  std::vector<std::byte> unit(4096);
  EXPECT_TRUE(is_zero(unit));
  unit.back() = std::byte{1};
  EXPECT_FALSE(is_zero(unit));
}

TEST(ZeroPage, AlwaysHasThePortableScan) {
  ASSERT_FALSE(zero_scans().empty());
  EXPECT_EQ(zero_scans().back().name, "portable");
}

}  // namespace
}  // namespace ferry
