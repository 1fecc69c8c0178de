#include <gtest/gtest.h>

#include <vector>

#include "ferry/memory.h"

namespace ferry {
namespace {

/// Three units and a half, and an empty region.
class GuestMemoryTest : public testing::Test {
 protected:
  static constexpr std::uint64_t k_length = 3 * k_unit_bytes + 2048;

  GuestMemory make() {
    auto memory =
        GuestMemory::create({{.id = 0, .name = "ram", .length = k_length, .host = ram_.data()},
                             {.id = 1, .name = "empty"}});
    EXPECT_TRUE(memory) << memory.error().text();
    return *std::move(memory);
  }

  std::vector<std::byte> ram_{k_length};
};

/// The code with which create() refuses one region that is `region`.
Errc refusal_of(MemoryRegion region) {
  const auto memory = GuestMemory::create({std::move(region)});
  EXPECT_FALSE(memory);
  return memory ? Errc::system : memory.error().code;
}

TEST_F(GuestMemoryTest, SumsItsRegionsAndAnnouncesThem) {
  const GuestMemory memory = make();
  EXPECT_EQ(memory.total_bytes(), k_length);
  ASSERT_EQ(memory.regions().size(), 2u);
  const Layout expected{{{.name = "ram", .length = k_length}, {.name = "empty"}}};
  EXPECT_EQ(memory.layout(), expected);
}

TEST_F(GuestMemoryTest, GivesAPointerToWhatLiesInside) {
  const GuestMemory memory = make();
  const auto all = memory.at({0, 0, k_length});
  ASSERT_TRUE(all);
  EXPECT_EQ(all->data(), ram_.data());
  EXPECT_EQ(all->size(), k_length);

  const auto middle = memory.at({0, k_unit_bytes, 2 * k_unit_bytes});
  ASSERT_TRUE(middle);
  EXPECT_EQ(middle->data(), ram_.data() + k_unit_bytes);
  EXPECT_EQ(middle->size(), 2 * k_unit_bytes);

  const auto tail = memory.at({0, 3 * k_unit_bytes, 2048});
  ASSERT_TRUE(tail);
  EXPECT_EQ(tail->data(), ram_.data() + 3 * k_unit_bytes);
}

TEST_F(GuestMemoryTest, RefusesWhatTheWireMayNotName) {
  const GuestMemory memory = make();
  const auto refused = [&memory](PageRun run) {
    const auto found = memory.at(run);
    return !found && found.error().code == Errc::protocol &&
           memory.check(run).error().code == Errc::protocol;
  };
  EXPECT_TRUE(refused({2, 0, k_unit_bytes})) << "one past the last region";
  EXPECT_TRUE(refused({UINT32_MAX, 0, k_unit_bytes}));
  EXPECT_TRUE(refused({0, 1, k_unit_bytes})) << "begins inside a unit";
  EXPECT_TRUE(refused({0, 0, 1})) << "ends inside a unit";
  EXPECT_TRUE(refused({0, 3 * k_unit_bytes, 2047})) << "ends inside the last unit";
  EXPECT_TRUE(refused({0, 0, k_length + 1})) << "a byte past the end";
  EXPECT_TRUE(refused({0, 3 * k_unit_bytes, k_unit_bytes})) << "a whole unit where half is left";
  EXPECT_TRUE(refused({0, 4 * k_unit_bytes, 0})) << "begins past the end";
  EXPECT_TRUE(refused({1, 0, k_unit_bytes})) << "in an empty region";
}

TEST_F(GuestMemoryTest, RefusesOffsetsAndLengthsWhoseSumWraps) {
  const GuestMemory memory = make();
  constexpr std::uint64_t k_last_unit = UINT64_MAX - k_unit_bytes + 1;
  for (const std::uint64_t offset : {k_unit_bytes, k_last_unit}) {
    for (const std::uint64_t length : {k_last_unit, UINT64_MAX, std::uint64_t{k_unit_bytes}}) {
      if (offset == k_unit_bytes && length == k_unit_bytes) continue;
      EXPECT_FALSE(memory.at({0, offset, length})) << offset << ", " << length;
    }
  }
}

TEST_F(GuestMemoryTest, AnEmptyRunIsNowhereButAllowed) {
  const GuestMemory memory = make();
  const auto nothing = memory.at({1, 0, 0});
  ASSERT_TRUE(nothing);
  EXPECT_TRUE(nothing->empty());
}

TEST_F(GuestMemoryTest, WhatIsNotMappedHasNoPointer) {
  const auto memory = GuestMemory::create({{.name = "file", .length = k_unit_bytes, .fd = 0}});
  ASSERT_TRUE(memory);
  EXPECT_TRUE(memory->check({0, 0, k_unit_bytes}));
  const auto found = memory->at({0, 0, k_unit_bytes});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::guest);
}

TEST_F(GuestMemoryTest, RefusesRegionsThatCannotBe) {
  std::byte* host = ram_.data();
  EXPECT_EQ(refusal_of({.id = 1, .length = 1, .host = host}), Errc::usage) << "numbered from 1";
  EXPECT_EQ(refusal_of({.length = 1}), Errc::usage) << "neither mapping nor descriptor";
  EXPECT_EQ(refusal_of({.page_size = 2048, .length = 1, .host = host}), Errc::usage);
  EXPECT_EQ(refusal_of({.page_size = 4097, .length = 1, .host = host}), Errc::usage);
  EXPECT_EQ(refusal_of({.page_size = 0, .length = 1, .host = host}), Errc::usage);
  EXPECT_EQ(refusal_of({.length = UINT64_MAX, .host = host}), Errc::usage) << "wraps";
  EXPECT_EQ(refusal_of({.length = INT64_MAX, .fd = 0, .fd_offset = 1}), Errc::usage);
  EXPECT_EQ(refusal_of({.length = 1, .fd = 0, .fd_offset = UINT64_MAX}), Errc::usage);
}

TEST_F(GuestMemoryTest, RefusesASumBeyond64Bits) {
  const MemoryRegion half{.length = INT64_MAX, .fd = 0};
  std::vector<MemoryRegion> regions(3, half);
  for (RegionId id = 0; id < regions.size(); ++id) regions[id].id = id;
  EXPECT_FALSE(GuestMemory::create(regions));
  regions.pop_back();
  EXPECT_TRUE(GuestMemory::create(regions));
}

}  // namespace
}  // namespace ferry
