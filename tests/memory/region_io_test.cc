#include "memory/region_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "ferry/unique_fd.h"

namespace ferry {
namespace {

using Bytes = std::vector<std::byte>;

Bytes noise_bytes(std::size_t bytes, unsigned seed) {
  std::mt19937_64 random(seed);
  Bytes noise(bytes);
  for (std::byte& byte : noise) byte = static_cast<std::byte>(random());
  return noise;
}

/// A file in memory with this content, from `offset` on.
UniqueFd file_of(const Bytes& content, std::uint64_t offset = 0) {
  UniqueFd fd(::memfd_create("region_io_test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(offset + content.size())), 0);
  EXPECT_EQ(::pwrite(fd.get(), content.data(), content.size(), static_cast<off_t>(offset)),
            static_cast<ssize_t>(content.size()));
  return fd;
}

Bytes content_of(const UniqueFd& fd) {
  Bytes bytes(static_cast<std::size_t>(::lseek(fd.get(), 0, SEEK_END)));
  EXPECT_EQ(::pread(fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return bytes;
}

MemoryRegion behind(const UniqueFd& fd, std::uint64_t length, std::uint64_t fd_offset = 0) {
  return {.name = "ram", .length = length, .fd = fd.get(), .fd_offset = fd_offset};
}
MemoryRegion mapped(Bytes& bytes) {
  return {.name = "ram", .length = bytes.size(), .host = bytes.data()};
}

Bytes digest(const MemoryRegion& region) {
  const auto made = digest_of(region, {});
  EXPECT_TRUE(made) << made.error().text();
  return {made->begin(), made->end()};
}

TEST(View, OfAMappingIsInPlace) {
  Bytes memory = noise_bytes(3 * k_unit_bytes, 1);
  const auto bytes = view(mapped(memory), {0, k_unit_bytes, k_unit_bytes}, {});
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->data(), memory.data() + k_unit_bytes);
  EXPECT_EQ(bytes->size(), k_unit_bytes);
}

TEST(View, OfADescriptorIsReadFromItsPlaceInTheFile) {
  const Bytes content = noise_bytes(2 * k_unit_bytes + 10, 2);
  const UniqueFd fd = file_of(content, 512);
  Bytes staging(2 * k_unit_bytes);
  const auto bytes =
      view(behind(fd, content.size(), 512), {0, k_unit_bytes, k_unit_bytes + 10}, staging);
  ASSERT_TRUE(bytes);
  EXPECT_TRUE(std::ranges::equal(*bytes, std::span(content).subspan(k_unit_bytes)));
  EXPECT_EQ(bytes->data(), staging.data());
}

TEST(View, SaysThatTheFileBecameShorter) {
  const UniqueFd fd = file_of(noise_bytes(k_unit_bytes + 7, 3));
  Bytes staging(3 * k_unit_bytes);
  const auto bytes = view(behind(fd, 3 * k_unit_bytes), {0, 0, 3 * k_unit_bytes}, staging);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code, Errc::system);
  EXPECT_EQ(bytes.error().context, "read 'ram' at offset 0x1007: the file became shorter");
}

TEST(View, SaysWhyAFileCannotBeRead) {
  const UniqueFd folder(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Bytes staging(k_unit_bytes);
  const auto bytes = view(behind(folder, k_unit_bytes), {0, 0, k_unit_bytes}, staging);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code, Errc::system);
  EXPECT_EQ(bytes.error().sys, EISDIR);
}

TEST(Store, WritesToThePlaceInTheFile) {
  const UniqueFd fd = file_of(Bytes(4 * k_unit_bytes));
  const Bytes page = noise_bytes(k_unit_bytes, 4);
  ASSERT_TRUE(store(behind(fd, 2 * k_unit_bytes, k_unit_bytes), k_unit_bytes, page));
  Bytes expected(4 * k_unit_bytes);
  std::ranges::copy(page, expected.begin() + 2 * k_unit_bytes);
  EXPECT_EQ(content_of(fd), expected);
}

TEST(Store, GivesTheDisksOwnReason) {
  const UniqueFd full(::open("/dev/full", O_RDWR | O_CLOEXEC));
  const auto stored = store(behind(full, k_unit_bytes), 0, Bytes(k_unit_bytes));
  ASSERT_FALSE(stored);
  EXPECT_EQ(stored.error().code, Errc::system);
  EXPECT_EQ(stored.error().sys, ENOSPC);
  EXPECT_EQ(stored.error().context, "write 'ram' at offset 0x0");
  EXPECT_EQ(stored.error().remedy, "is the disk full?");
}

TEST(Store, NamesTheFileByItsPathWhereItHasOne) {
  const UniqueFd full(::open("/dev/full", O_RDWR | O_CLOEXEC));
  MemoryRegion region = behind(full, k_unit_bytes);
  region.path = "images/out 1.img";
  const auto stored = store(region, 0, Bytes(k_unit_bytes));
  ASSERT_FALSE(stored);
  EXPECT_EQ(stored.error().context, "write 'images/out 1.img' at offset 0x0");
}

TEST(Clear, ZeroesAMappingAndNothingBesideIt) {
  Bytes memory = noise_bytes(3 * k_unit_bytes, 5);
  Bytes expected = memory;
  std::fill_n(expected.begin() + k_unit_bytes, k_unit_bytes, std::byte{0});
  ASSERT_TRUE(clear(mapped(memory), {0, k_unit_bytes, k_unit_bytes}));
  EXPECT_EQ(memory, expected);
}

TEST(Clear, ZeroesAFileAndGivesItsBlocksBack) {
  Bytes content = noise_bytes(64 * k_unit_bytes, 6);
  const UniqueFd fd = file_of(content);
  struct stat before {};
  ASSERT_EQ(::fstat(fd.get(), &before), 0);
  ASSERT_TRUE(
      clear(behind(fd, 62 * k_unit_bytes, k_unit_bytes), {0, k_unit_bytes, 32 * k_unit_bytes}));
  std::fill_n(content.begin() + 2 * k_unit_bytes, 32 * k_unit_bytes, std::byte{0});
  EXPECT_EQ(content_of(fd), content);
  struct stat after {};
  ASSERT_EQ(::fstat(fd.get(), &after), 0);
  EXPECT_LT(after.st_blocks, before.st_blocks);
  EXPECT_EQ(after.st_size, before.st_size);
}

TEST(Clear, ZeroesAPartialLastUnitAndLeavesTheLengthAlone) {
  const UniqueFd fd = file_of(noise_bytes(k_unit_bytes + 9, 7));
  ASSERT_TRUE(clear(behind(fd, k_unit_bytes + 9), {0, 0, k_unit_bytes + 9}));
  EXPECT_EQ(content_of(fd), Bytes(k_unit_bytes + 9));
}

TEST(Clear, WritesZerosWhereThereAreNoHoles) {
  // A character device punches no holes; this one takes any zeros.
  const UniqueFd device(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  EXPECT_TRUE(clear(behind(device, 1 << 20), {0, 0, 1 << 20}));
  const UniqueFd full(::open("/dev/full", O_RDWR | O_CLOEXEC));
  const auto cleared = clear(behind(full, 1 << 20), {0, 0, 1 << 20});
  ASSERT_FALSE(cleared);
  EXPECT_EQ(cleared.error().sys, ENOSPC) << "and it says so where they are not taken";
}

TEST(Digest, IsThatOfTheUnitsThatAreNotZerosEachAfterItsOffset) {
  Bytes memory(4 * k_unit_bytes + 5);
  const Bytes page = noise_bytes(k_unit_bytes, 8);
  std::ranges::copy(page, memory.begin() + 2 * k_unit_bytes);
  memory.back() = std::byte{1};
  StreamDigest expected;
  const Bytes offset_of_page = {std::byte{0}, std::byte{0x20}, {}, {}, {}, {}, {}, {}};
  const Bytes offset_of_tail = {std::byte{0}, std::byte{0x40}, {}, {}, {}, {}, {}, {}};
  expected.update(offset_of_page);
  expected.update(page);
  expected.update(offset_of_tail);
  expected.update(std::span(memory).subspan(4 * k_unit_bytes));
  const auto value = expected.value();
  EXPECT_EQ(digest(mapped(memory)), Bytes(value.begin(), value.end()));
}

TEST(Digest, IsTheSameHoweverTheMemoryIsReached) {
  Bytes memory(300 * k_unit_bytes + 77);
  for (std::size_t unit = 0; unit < 300; unit += 3) {
    std::ranges::copy(noise_bytes(k_unit_bytes, static_cast<unsigned>(unit)),
                      memory.begin() + static_cast<std::ptrdiff_t>(unit * k_unit_bytes));
  }
  // A file whose zeros are written, and one whose zeros are holes.
  const UniqueFd written = file_of(memory, 4096);
  const UniqueFd sparse = file_of(memory);
  for (std::size_t unit = 1; unit < 300; unit += 3) {
    ASSERT_TRUE(clear(behind(sparse, memory.size()), {0, unit * k_unit_bytes, 2 * k_unit_bytes}));
  }
  const Bytes expected = digest(mapped(memory));
  EXPECT_EQ(digest(behind(written, memory.size(), 4096)), expected);
  EXPECT_EQ(digest(behind(sparse, memory.size())), expected);
}

TEST(Digest, DiffersWithOneBitAndWithThePlaceOfAPage) {
  Bytes memory(8 * k_unit_bytes);
  std::ranges::copy(noise_bytes(k_unit_bytes, 9), memory.begin());
  const Bytes original = digest(mapped(memory));
  memory[77] ^= std::byte{1};
  EXPECT_NE(digest(mapped(memory)), original);
  memory[77] ^= std::byte{1};
  EXPECT_EQ(digest(mapped(memory)), original);
  std::ranges::rotate(memory, memory.end() - k_unit_bytes);
  EXPECT_NE(digest(mapped(memory)), original);
}

TEST(Digest, OfAllZerosAndOfNothingIsTheSame) {
  Bytes zeros(5 * k_unit_bytes);
  EXPECT_EQ(digest(mapped(zeros)), digest({.name = "empty"}));
}

TEST(Digest, CostsNothingForHoles) {
  const UniqueFd fd(::memfd_create("region_io_test", MFD_CLOEXEC));
  constexpr std::uint64_t k_length = std::uint64_t{1} << 42;
  ASSERT_EQ(::ftruncate(fd.get(), k_length), 0);
  EXPECT_EQ(digest(behind(fd, k_length)), digest({.name = "empty"}));
}

TEST(Digest, EndsWhenItIsAskedToStop) {
  Bytes memory = noise_bytes(k_unit_bytes, 10);
  std::stop_source stop;
  stop.request_stop();
  const auto made = digest_of(mapped(memory), stop.get_token());
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::cancelled);
  EXPECT_EQ(made.error().context, "digest of 'ram'");
}

TEST(Digest, SaysThatTheFileBecameShorter) {
  const UniqueFd fd = file_of(noise_bytes(k_unit_bytes, 11));
  const auto made = digest_of(behind(fd, 2 * k_unit_bytes), {});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::system);
}

}  // namespace
}  // namespace ferry
