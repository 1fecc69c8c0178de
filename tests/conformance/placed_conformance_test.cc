// What everything that puts pages at their place promises, over every kind of it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "channels/file_place.h"
#include "ferry/place.h"
#include "tests/image/temp_folder.h"
#include "tests/same_bytes.h"

namespace ferry::test {
namespace {

struct PlacedKind {
  std::string name;
  FileOptions options;
  friend void PrintTo(const PlacedKind& kind, std::ostream* out) { *out << kind.name; }
};

/// Another way to put pages at their place is one line in here.
std::vector<PlacedKind> every_kind() {
  std::vector<PlacedKind> kinds;
  for (const auto& [name, engine] : {std::pair("io_uring", FileEngineKind::io_uring),
                                     {"aio", FileEngineKind::aio},
                                     {"threads", FileEngineKind::threads}}) {
    for (const unsigned depth : {1u, 8u}) {
      const std::string of_depth = "_depth_" + std::to_string(depth);
      kinds.push_back(
          {name + of_depth, {.engine = engine, .caching = Caching::buffered, .depth = depth}});
      kinds.push_back({name + of_depth + "_direct",
                       {.engine = engine, .caching = Caching::direct, .depth = depth}});
    }
  }
  return kinds;
}

constexpr std::uint64_t k_first_region = 3 * k_unit_bytes;
constexpr std::uint64_t k_second_region = 700 * k_unit_bytes;
constexpr std::uint64_t k_length = 2000 * k_unit_bytes;

struct FreeBytes {
  void operator()(std::byte* bytes) const { std::free(bytes); }
};

/// Random bytes, or room for some, that begin on a unit.
class Bytes {
 public:
  explicit Bytes(std::size_t size, unsigned seed = 0)
      : bytes_(static_cast<std::byte*>(std::aligned_alloc(k_unit_bytes, size))), size_(size) {
    std::mt19937_64 random(seed);
    for (std::size_t at = 0; at < size; at += 8) {
      const std::uint64_t word = random();
      std::memcpy(bytes_.get() + at, &word, 8);
    }
  }
  std::span<std::byte> all() const { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<std::byte, FreeBytes> bytes_;
  std::size_t size_;
};

/// By mincore(2), which reads nothing ahead.
bool is_cached(int fd, std::uint64_t offset) {
  void* const unit =
      ::mmap(nullptr, k_unit_bytes, PROT_READ, MAP_SHARED, fd, static_cast<::off_t>(offset));
  EXPECT_NE(unit, MAP_FAILED);
  unsigned char in = 0;
  EXPECT_EQ(::mincore(unit, k_unit_bytes, &in), 0);
  ::munmap(unit, k_unit_bytes);
  return (in & 1) != 0;
}

class PlacedConformance : public testing::TestWithParam<PlacedKind> {
 protected:
  void SetUp() override {
    auto place = create_file_place(folder_ / "a", k_length, GetParam().options);
    ASSERT_TRUE(place) << place.error().text();
    place_ = std::move(*place);
    auto lane = place_->lane({k_first_region, k_second_region}, {});
    if (!lane && lane.error().code == Errc::unsupported) GTEST_SKIP() << lane.error().text();
    ASSERT_TRUE(lane) << lane.error().text();
    lane_ = std::move(*lane);
  }
  void expect_in_place(std::uint64_t at, std::span<const std::byte> bytes) {
    std::vector<std::byte> found(bytes.size());
    ASSERT_TRUE(place_->read(at, found));
    EXPECT_TRUE(same_bytes(found, bytes)) << "at " << at;
  }

  TempFolder folder_;
  std::unique_ptr<NewPlace> place_;
  std::unique_ptr<PlacedIo> lane_;
};

TEST_P(PlacedConformance, RunsAreAtTheirPlaceAfterAFlush) {
  const Bytes memory(100 * k_unit_bytes, 1);
  for (std::uint64_t unit = 0; unit < 100; unit += 10) {
    const std::uint64_t length = (1 + unit / 10) * k_unit_bytes;
    const RegionId region = unit % 20 == 0 ? 0 : 1;
    ASSERT_TRUE(lane_->put({region, unit * k_unit_bytes, length},
                           memory.all().subspan(unit * k_unit_bytes, length)));
    EXPECT_LE(lane_->under_way(), lane_->depth());
  }
  ASSERT_TRUE(lane_->flush());
  EXPECT_EQ(lane_->under_way(), 0u);
  for (std::uint64_t unit = 0; unit < 100; unit += 10) {
    const std::uint64_t base = unit % 20 == 0 ? k_first_region : k_second_region;
    expect_in_place(base + unit * k_unit_bytes,
                    memory.all().subspan(unit * k_unit_bytes, (1 + unit / 10) * k_unit_bytes));
  }
  const std::vector<std::byte> zeros(9 * k_unit_bytes);
  expect_in_place(k_first_region + k_unit_bytes, zeros);
}

TEST_P(PlacedConformance, StagingMayBeFilledAgainAsSoonAsItIsGiven) {
  const Bytes memory(60 * PlacedIo::k_staging_bytes / 16, 2);
  constexpr std::uint64_t k_piece = PlacedIo::k_staging_bytes / 16;
  for (std::uint64_t at = 0; at < memory.all().size(); at += k_piece) {
    const auto staging = lane_->staging(k_piece);
    ASSERT_TRUE(staging);
    ASSERT_EQ(staging->size(), k_piece);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(staging->data()) % k_unit_bytes, 0u);
    std::ranges::copy(memory.all().subspan(at, k_piece), staging->begin());
    ASSERT_TRUE(lane_->put({1, at, k_piece}, staging->first(k_piece)));
  }
  ASSERT_TRUE(lane_->flush());
  expect_in_place(k_second_region, memory.all());
}

TEST_P(PlacedConformance, WhatIsGotComesInTheOrderOfAsking) {
  const Bytes memory(64 * k_unit_bytes, 3);
  ASSERT_TRUE(place_->write(k_first_region, memory.all()));
  ASSERT_TRUE(place_->keep());
  std::deque<std::pair<std::uint64_t, std::span<std::byte>>> asked;
  const auto take_oldest = [&] {
    ASSERT_TRUE(lane_->settle());
    const auto [at, bytes] = asked.front();
    asked.pop_front();
    EXPECT_TRUE(same_bytes(bytes, memory.all().subspan(at, bytes.size()))) << at;
  };
  const Bytes into(64 * k_unit_bytes);
  for (std::uint64_t at = 0; at < memory.all().size(); at += 4 * k_unit_bytes) {
    if (lane_->under_way() == lane_->depth()) take_oldest();
    std::span<std::byte> room = into.all().subspan(at, 4 * k_unit_bytes);
    if (at % (8 * k_unit_bytes) == 0) {
      const auto staging = lane_->staging(4 * k_unit_bytes);
      ASSERT_TRUE(staging);
      room = *staging;
    }
    ASSERT_TRUE(lane_->get({0, at, 4 * k_unit_bytes}, room));
    asked.emplace_back(at, room);
  }
  while (!asked.empty()) take_oldest();
}

TEST_P(PlacedConformance, WhatIsGotIsPutOnIntoMemoryOutside) {
  const Bytes memory(64 * k_unit_bytes, 5);
  ASSERT_TRUE(place_->write(k_second_region, memory.all()));
  ASSERT_TRUE(place_->keep());
  ASSERT_TRUE(place_->show());
  const auto read = open_file_place(folder_ / "a", GetParam().options);
  ASSERT_TRUE(read) << read.error().text();
  const std::string path = folder_ / "outside";
  write_file(path, std::string(80 * k_unit_bytes + 77, 'x'));
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  const std::vector<MemoryRegion> outside{{.id = 0, .name = "mapped", .length = k_unit_bytes},
                                          {.id = 1,
                                           .name = "outside",
                                           .length = 70 * k_unit_bytes + 77,
                                           .backing = Backing::file,
                                           .fd = file.get(),
                                           .fd_offset = 10 * k_unit_bytes}};
  auto lane = (*read)->lane({k_first_region, k_second_region}, outside);
  ASSERT_TRUE(lane) << lane.error().text();
  for (std::uint64_t at = 0; at < memory.all().size(); at += 4 * k_unit_bytes) {
    const auto staging = (*lane)->staging(4 * k_unit_bytes);
    ASSERT_TRUE(staging);
    ASSERT_TRUE((*lane)->get({1, at, staging->size()}, *staging));
    ASSERT_TRUE((*lane)->flush());
    ASSERT_TRUE((*lane)->put({3, at + k_unit_bytes, staging->size()}, *staging));
  }
  ASSERT_TRUE((*lane)->flush());
  const std::string found = read_file(path);
  ASSERT_EQ(found.size(), 80 * k_unit_bytes + 77);
  const auto bytes = std::as_bytes(std::span(found)).subspan(11 * k_unit_bytes, 64 * k_unit_bytes);
  EXPECT_TRUE(same_bytes(bytes, memory.all()));
  EXPECT_EQ(found[11 * k_unit_bytes - 1], 'x');
  EXPECT_EQ(found[75 * k_unit_bytes], 'x');
}

/// Also of a file that nobody may write to.
TEST_P(PlacedConformance, WhatIsGotFromMemoryOutsideIsPut) {
  const Bytes memory(64 * k_unit_bytes, 6);
  const std::string path = folder_ / "outside";
  write_file(path, std::string(reinterpret_cast<const char*>(memory.all().data()), 64 * 4096));
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const std::vector<MemoryRegion> outside{{.id = 0,
                                           .name = "outside",
                                           .length = 60 * k_unit_bytes,
                                           .backing = Backing::file,
                                           .fd = file.get(),
                                           .fd_offset = 4 * k_unit_bytes}};
  auto lane = place_->lane({k_first_region, k_second_region}, outside);
  ASSERT_TRUE(lane) << lane.error().text();
  for (std::uint64_t at = 0; at < 60 * k_unit_bytes; at += 4 * k_unit_bytes) {
    const auto staging = (*lane)->staging(4 * k_unit_bytes);
    ASSERT_TRUE(staging);
    ASSERT_TRUE((*lane)->get({2, at, staging->size()}, *staging));
    ASSERT_TRUE((*lane)->settle());
    ASSERT_TRUE((*lane)->put({1, at, staging->size()}, *staging));
    ASSERT_TRUE((*lane)->settle());
  }
  expect_in_place(k_second_region, memory.all().subspan(4 * k_unit_bytes));
  const auto staging = (*lane)->staging(4 * k_unit_bytes);
  ASSERT_TRUE(staging);
  ASSERT_TRUE((*lane)->get({2, 60 * k_unit_bytes, staging->size()}, *staging));
  const auto behind = (*lane)->settle();
  ASSERT_FALSE(behind);
  EXPECT_EQ(behind.error().text(),
            "read 'outside' at offset 0x40000: the file became shorter (is something else writing "
            "to it?)");
}

/// Of an image, which is read once: whichever way the snapshot's own pages go.
TEST_P(PlacedConformance, WhatIsOutsideAndInNoCacheStaysOutOfIt) {
  const std::string path = folder_ / "outside";
  // So large that asking whether it is cached does not read all of it ahead.
  write_file(path, std::string(4096 * k_unit_bytes, 'x'));
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!UniqueFd(::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC))) {
    GTEST_SKIP() << folder_.path() << " is on a file system without O_DIRECT";
  }
  ASSERT_EQ(::fsync(file.get()), 0);
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  ASSERT_FALSE(is_cached(file.get(), 18 * k_unit_bytes));
  const std::vector<MemoryRegion> outside{{.id = 0,
                                           .name = "outside",
                                           .length = 4096 * k_unit_bytes,
                                           .backing = Backing::file,
                                           .fd = file.get()}};
  const Bytes memory(16 * k_unit_bytes, 7);
  {
    auto lane = place_->lane({k_first_region}, outside);
    ASSERT_TRUE(lane) << lane.error().text();
    const auto staging = (*lane)->staging(16 * k_unit_bytes);
    ASSERT_TRUE(staging);
    ASSERT_TRUE((*lane)->get({1, 16 * k_unit_bytes, staging->size()}, *staging));
    ASSERT_TRUE((*lane)->flush());
    EXPECT_EQ(staging->front(), std::byte{'x'});
    EXPECT_FALSE(is_cached(file.get(), 18 * k_unit_bytes)) << "read";
  }
  ASSERT_TRUE(place_->keep());
  ASSERT_TRUE(place_->show());
  const auto read = open_file_place(folder_ / "a", GetParam().options);
  ASSERT_TRUE(read) << read.error().text();
  auto lane = (*read)->lane({k_first_region}, outside);
  ASSERT_TRUE(lane) << lane.error().text();
  ASSERT_TRUE((*lane)->put({1, 32 * k_unit_bytes, memory.all().size()}, memory.all()));
  ASSERT_TRUE((*lane)->flush());
  EXPECT_FALSE(is_cached(file.get(), 34 * k_unit_bytes)) << "written";
}

TEST_P(PlacedConformance, AFlushOfNothingIsDone) { EXPECT_TRUE(lane_->flush()); }

TEST_P(PlacedConformance, DestroyingALaneWaitsForWhatIsUnderWay) {
  auto memory = std::make_unique<Bytes>(8 * k_unit_bytes, 4);
  const std::vector<std::byte> content(memory->all().begin(), memory->all().end());
  ASSERT_TRUE(lane_->put({0, 0, content.size()}, memory->all()));
  lane_.reset();
  memory.reset();
  expect_in_place(k_first_region, content);
}

TEST_P(PlacedConformance, AFailureIsFinal) {
  const Bytes into(k_unit_bytes);
  ASSERT_TRUE(lane_->get({1, 5000 * k_unit_bytes, k_unit_bytes}, into.all()));  // behind its end
  const auto first = lane_->settle();
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code, Errc::system);
  EXPECT_FALSE(lane_->get({0, 0, k_unit_bytes}, into.all()));
  EXPECT_FALSE(lane_->put({0, 0, k_unit_bytes}, into.all()));
  EXPECT_FALSE(lane_->staging(k_unit_bytes));
  EXPECT_EQ(lane_->flush().error().text(), first.error().text());
}

INSTANTIATE_TEST_SUITE_P(Kinds, PlacedConformance, testing::ValuesIn(every_kind()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace ferry::test
