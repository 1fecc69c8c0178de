#include "memory/extent_walker.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "ferry/unique_fd.h"

namespace {

std::atomic<unsigned> questions = 0;
// Between two questions anybody may write to the file.
std::function<void()> before_a_question = [] {};

}  // namespace

/// In the place of the C library's: counts, and lets a test come between.
extern "C" off_t lseek(int fd, off_t offset, int whence) noexcept {
  ++questions;
  before_a_question();
  return ::syscall(SYS_lseek, fd, offset, whence);
}

namespace ferry {
namespace {

PageRun units_from(std::uint64_t first, std::uint64_t count) {
  return {0, first * k_unit_bytes, count * k_unit_bytes};
}
Extent data(std::uint64_t first, std::uint64_t count) { return {units_from(first, count), false}; }
Extent hole(std::uint64_t first, std::uint64_t count) { return {units_from(first, count), true}; }

/// A file in memory whose pages have data where `pages` has an x, and none where it has a dot.
UniqueFd file_of(const std::string& pages) {
  UniqueFd fd(::memfd_create("extent_walker_test", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(pages.size() * k_unit_bytes)), 0);
  for (std::size_t page = 0; page < pages.size(); ++page) {
    if (pages[page] == '.') continue;
    EXPECT_EQ(::pwrite(fd.get(), "x", 1, static_cast<off_t>(page * k_unit_bytes)), 1);
  }
  return fd;
}

MemoryRegion region_of(const UniqueFd& fd, std::uint64_t length, std::uint64_t fd_offset = 0) {
  return {.name = "file", .length = length, .fd = fd.get(), .fd_offset = fd_offset};
}

Result<std::vector<Extent>> walk(const MemoryRegion& region) {
  std::vector<Extent> extents;
  ExtentWalker walker(region);
  while (const auto extent = FERRY_TRY(walker.next())) extents.push_back(*extent);
  EXPECT_FALSE(walker.next()->has_value()) << "an end stays the end";
  return extents;
}

void expect_extents(const MemoryRegion& region, const std::vector<Extent>& expected) {
  const auto found = walk(region);
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ(*found, expected);
}

TEST(ExtentWalker, WithoutADescriptorAllIsData) {
  expect_extents({.length = 3 * k_unit_bytes + 5}, {{{0, 0, 3 * k_unit_bytes + 5}, false}});
}

TEST(ExtentWalker, AnEmptyRegionHasNoExtents) { expect_extents({.length = 0}, {}); }

TEST(ExtentWalker, FindsHolesAndData) {
  const UniqueFd fd = file_of("..xxx.x....");
  expect_extents(region_of(fd, 11 * k_unit_bytes),
                 {hole(0, 2), data(2, 3), hole(5, 1), data(6, 1), hole(7, 4)});
}

TEST(ExtentWalker, FindsOneExtentWhereAllIsAlike) {
  expect_extents(region_of(file_of("xxxx"), 4 * k_unit_bytes), {data(0, 4)});
  expect_extents(region_of(file_of("...."), 4 * k_unit_bytes), {hole(0, 4)});
}

TEST(ExtentWalker, EndsInThePartialUnitOfTheRegion) {
  constexpr std::uint64_t k_length = 2 * k_unit_bytes + 100;
  const UniqueFd sparse = file_of("x..");
  expect_extents(region_of(sparse, k_length),
                 {data(0, 1), {{0, k_unit_bytes, k_unit_bytes + 100}, true}});
  const UniqueFd full = file_of(".xx");
  ASSERT_EQ(::ftruncate(full.get(), k_length), 0);
  expect_extents(region_of(full, k_length),
                 {hole(0, 1), {{0, k_unit_bytes, k_unit_bytes + 100}, false}});
}

TEST(ExtentWalker, StopsAtTheRegionsEndAlthoughTheFileGoesOn) {
  const UniqueFd fd = file_of("x..xxx...");
  expect_extents(region_of(fd, 2 * k_unit_bytes), {data(0, 1), hole(1, 1)});
  expect_extents(region_of(fd, 4 * k_unit_bytes), {data(0, 1), hole(1, 2), data(3, 1)});
}

TEST(ExtentWalker, CountsFromWhereTheRegionBegins) {
  const UniqueFd fd = file_of("xx..x.");
  expect_extents(region_of(fd, 4 * k_unit_bytes, 2 * k_unit_bytes),
                 {hole(0, 2), data(2, 1), hole(3, 1)});
}

TEST(ExtentWalker, AUnitThatIsAHoleOnlyInPartIsData) {
  // The file's pages and the region's units are shifted by 512 bytes: at either end of the data a
  // unit is half of each.
  const UniqueFd fd = file_of("...x....x.x....");
  expect_extents(region_of(fd, 14 * k_unit_bytes, 512),
                 {hole(0, 2), data(2, 2), hole(4, 3), data(7, 4), hole(11, 3)});
}

TEST(ExtentWalker, AgreesWithTheFileForAnyPatternAndOffset) {
  std::mt19937 random(11);
  for (int trial = 0; trial < 200; ++trial) {
    std::string pages(1 + random() % 40, '.');
    for (char& page : pages) page = random() % 3 == 0 ? 'x' : '.';
    const UniqueFd fd = file_of(pages);
    const std::uint64_t size = pages.size() * k_unit_bytes;
    const std::uint64_t fd_offset = random() % size / 512 * 512;
    const std::uint64_t length = 1 + random() % (size - fd_offset);

    std::vector<bool> expected;
    for (std::uint64_t at = 0; at < length; at += k_unit_bytes) {
      const std::uint64_t last = std::min(at + k_unit_bytes, length) - 1;
      expected.push_back(pages[(fd_offset + at) / k_unit_bytes] == '.' &&
                         pages[(fd_offset + last) / k_unit_bytes] == '.');
    }
    const auto extents = walk(region_of(fd, length, fd_offset));
    ASSERT_TRUE(extents) << extents.error().text();
    std::vector<bool> found;
    std::uint64_t next = 0;
    for (const Extent& extent : *extents) {
      ASSERT_EQ(extent.run.offset, next);
      ASSERT_GT(extent.run.length, 0u);
      found.insert(found.end(), units_in(extent.run.length), extent.hole);
      next += extent.run.length;
    }
    ASSERT_EQ(next, length);
    ASSERT_EQ(found, expected) << pages << " from " << fd_offset << ", " << length << " bytes";
  }
}

TEST(ExtentWalker, TwoOnOneDescriptorDoNotDisturbEachOther) {
  const UniqueFd fd = file_of("x.x.x.x.");
  ExtentWalker one(region_of(fd, 8 * k_unit_bytes));
  ExtentWalker other(region_of(fd, 4 * k_unit_bytes, 4 * k_unit_bytes));
  EXPECT_EQ(**one.next(), data(0, 1));
  EXPECT_EQ(**other.next(), data(0, 1));
  EXPECT_EQ(**one.next(), hole(1, 1));
  EXPECT_EQ(**other.next(), hole(1, 1));
  EXPECT_EQ(**one.next(), data(2, 1));
}

TEST(ExtentWalker, AsksTwiceForEachHoleAndItsData) {
  const UniqueFd fd = file_of("x.xx..x.x...xxx.");
  const unsigned before = questions;
  const auto found = walk(region_of(fd, 16 * k_unit_bytes));
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ(found->size(), 10u);
  EXPECT_EQ(questions - before, 1u + 10u) << "once more, for how it begins";
}

TEST(ExtentWalker, CoversTheRegionAlthoughSomebodyFillsAndPunchesIt) {
  std::mt19937 random(12);
  constexpr std::uint64_t k_units = 30;
  for (int trial = 0; trial < 300; ++trial) {
    // Units that nobody touches while it walks must be told as they are.
    std::string pages(k_units, '.');
    for (char& page : pages) page = "x.~"[random() % 3];
    const UniqueFd fd = file_of(pages);
    before_a_question = [&] {
      for (std::uint64_t unit = 0; unit < k_units; ++unit) {
        if (pages[unit] != '~' || random() % 2 == 0) continue;
        const auto at = static_cast<off_t>(unit * k_unit_bytes);
        if (random() % 2 == 0) {
          EXPECT_EQ(::pwrite(fd.get(), "x", 1, at), 1);
        } else {
          EXPECT_EQ(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
                                static_cast<off_t>(k_unit_bytes)),
                    0);
        }
      }
    };
    const auto extents = walk(region_of(fd, k_units * k_unit_bytes));
    before_a_question = [] {};
    ASSERT_TRUE(extents) << extents.error().text();
    std::uint64_t next = 0;
    for (const Extent& extent : *extents) {
      ASSERT_EQ(extent.run.offset, next * k_unit_bytes);
      ASSERT_GT(extent.run.length, 0u);
      const std::uint64_t end = next + units_in(extent.run.length);
      for (; next < end; ++next) {
        if (pages[next] == '~') continue;
        EXPECT_EQ(extent.hole, pages[next] == '.') << pages << next;
      }
    }
    ASSERT_EQ(next, k_units);
  }
}

/// Memory that is mapped and shared, as a VMM has it.
struct SharedMapping {
  explicit SharedMapping(const UniqueFd& file, std::uint64_t length) : bytes(length) {
    at = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    EXPECT_NE(at, MAP_FAILED);
    region = region_of(file, length);
    region.host = static_cast<std::byte*>(at);
    region.backing = Backing::shmem;
  }
  SharedMapping(const SharedMapping&) = delete;
  SharedMapping& operator=(const SharedMapping&) = delete;
  ~SharedMapping() { ::munmap(at, bytes); }

  void* at = nullptr;
  std::uint64_t bytes;
  MemoryRegion region;
};

/// What is told in parts, as if it were told at once.
std::vector<Extent> joined(const std::vector<Extent>& parts) {
  std::vector<Extent> whole;
  for (const Extent& part : parts) {
    if (!whole.empty() && whole.back().hole == part.hole) {
      whole.back().run.length += part.run.length;
    } else {
      whole.push_back(part);
    }
  }
  return whole;
}

TEST(ExtentWalker, ResidentSharedMemoryIsToldInPartsAndTheFileIsNotAsked) {
  const std::uint64_t pages = 3 * 16 * 256;
  const UniqueFd file = file_of(std::string(pages, 'x'));
  const SharedMapping memory(file, pages * k_unit_bytes);
  questions = 0;
  const auto parts = walk(memory.region);
  ASSERT_TRUE(parts);
  EXPECT_EQ(questions, 0u);
  for (const Extent& part : *parts) EXPECT_LE(part.run.length, 16u * 1024 * 1024);
  EXPECT_EQ(joined(*parts), std::vector{data(0, pages)});
}

TEST(ExtentWalker, FindsEveryHoleOfMappedSharedMemory) {
  std::mt19937 random(7);
  std::string pages;
  while (pages.size() < 12'000) pages.append(1 + random() % 700, random() % 2 == 0 ? 'x' : '.');
  const UniqueFd file = file_of(pages);
  const SharedMapping memory(file, pages.size() * k_unit_bytes);
  const auto parts = walk(memory.region);
  const auto by_the_file = walk(region_of(file, pages.size() * k_unit_bytes));
  ASSERT_TRUE(parts && by_the_file);
  EXPECT_EQ(joined(*parts), *by_the_file);
}

TEST(ExtentWalker, GoesNoFurtherThanThePartThatItIsGiven) {
  const UniqueFd fd = file_of("xx....xxxx..");
  const auto within = [&](std::uint64_t first, std::uint64_t count) {
    std::vector<Extent> extents;
    ExtentWalker walker(region_of(fd, 12 * k_unit_bytes), units_from(first, count));
    while (const auto extent = walker.next().value()) extents.push_back(*extent);
    return extents;
  };
  EXPECT_EQ(within(3, 2), (std::vector{hole(3, 2)}));
  EXPECT_EQ(within(7, 2), (std::vector{data(7, 2)}));
  EXPECT_EQ(within(1, 7), (std::vector{data(1, 1), hole(2, 4), data(6, 2)}));
  EXPECT_EQ(within(9, 3), (std::vector{data(9, 1), hole(10, 2)}));
}

TEST(ExtentWalker, WhatKnowsNoHolesIsAllData) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd out(ends[0]);
  const UniqueFd in(ends[1]);
  expect_extents(region_of(out, 9 * k_unit_bytes), {data(0, 9)});  // ESPIPE

  const UniqueFd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));  // any seek ends at 0
  ASSERT_TRUE(zero);
  expect_extents(region_of(zero, 9 * k_unit_bytes), {data(0, 9)});
  expect_extents(region_of(zero, 9 * k_unit_bytes, k_unit_bytes), {data(0, 9)});
}

TEST(ExtentWalker, AFileThatBecameShorterIsAnErrorAndNoHole) {
  for (const std::string pages : {"xx", "x.", ".."}) {
    const auto found = walk(region_of(file_of(pages), 3 * k_unit_bytes));
    ASSERT_FALSE(found) << pages;
    EXPECT_EQ(found.error().code, Errc::system);
  }
  const auto beyond = walk(region_of(file_of("x"), k_unit_bytes, 5 * k_unit_bytes));
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code, Errc::system);
}

TEST(ExtentWalker, AnotherFailureKeepsItsReason) {
  const auto found = walk({.length = k_unit_bytes, .fd = 1'000'000});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::system);
  EXPECT_EQ(found.error().sys, EBADF);
}

}  // namespace
}  // namespace ferry
