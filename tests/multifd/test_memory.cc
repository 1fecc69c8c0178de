#include "tests/multifd/test_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>

#include "tests/same_bytes.h"

namespace ferry::test {

TestMemory::TestMemory(Reach reach, const std::vector<std::uint64_t>& lengths) {
  std::vector<MemoryRegion> regions;
  for (const std::uint64_t length : lengths) {
    MemoryRegion region{.id = static_cast<RegionId>(regions.size()),
                        .name = "ram" + std::to_string(regions.size()),
                        .length = length};
    if (reach == Reach::mapping) {
      region.host = mappings_.emplace_back(length).data();
    } else {
      region.fd = files_.emplace_back(::memfd_create("ferry-test", MFD_CLOEXEC)).get();
      EXPECT_EQ(::ftruncate(region.fd, static_cast<off_t>(length)), 0);
    }
    regions.push_back(region);
  }
  memory_ = GuestMemory::create(std::move(regions)).value();
}

std::vector<PageRun> TestMemory::runs() const {
  std::vector<PageRun> runs;
  for (const MemoryRegion& region : memory_.regions())
    runs.push_back({region.id, 0, region.length});
  return runs;
}

void TestMemory::write(RegionId region, std::uint64_t offset, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  if (files_.empty()) {
    std::memcpy(mappings_[region].data() + offset, bytes.data(), bytes.size());
    return;
  }
  const int fd = files_[region].get();
  ASSERT_EQ(::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)),
            static_cast<ssize_t>(bytes.size()));
}

Bytes TestMemory::read(const PageRun& run) const {
  Bytes bytes(run.length);
  if (bytes.empty()) return bytes;
  if (files_.empty()) {
    std::memcpy(bytes.data(), mappings_[run.region].data() + run.offset, run.length);
  } else {
    const int fd = files_[run.region].get();
    EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(run.offset)),
              static_cast<ssize_t>(run.length));
  }
  return bytes;
}

std::vector<Bytes> TestMemory::content() const {
  std::vector<Bytes> all;
  for (const PageRun& run : runs()) all.push_back(read(run));
  return all;
}

bool same_bytes(const std::vector<Bytes>& left, const std::vector<Bytes>& right) {
  return std::ranges::equal(
      left, right, [](const Bytes& one, const Bytes& other) { return same_bytes(one, other); });
}

Bytes noise_bytes(std::size_t bytes, unsigned seed) {
  std::mt19937_64 random(seed);
  Bytes noise(bytes);
  for (std::size_t at = 0; at < bytes; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(&noise[at], &word, std::min(sizeof word, bytes - at));
  }
  return noise;
}

void paint(TestMemory& memory, Picture picture, unsigned seed) {
  std::mt19937_64 random(seed);
  for (const PageRun& run : memory.runs()) {
    Bytes bytes = noise_bytes(run.length, seed + run.region);
    bool data = true;
    for (std::uint64_t unit = 0; unit * k_unit_bytes < run.length; ++unit) {
      switch (picture) {
        case Picture::noise:
          break;
        case Picture::mixed:
          if (random() % 8 == 0) data = !data;
          break;
        case Picture::stripes:
          data = unit % 2 == 0;
          break;
        case Picture::sparse:
          data = random() % 64 == 0;
          break;
        case Picture::zeros:
          data = false;
      }
      if (data) continue;
      const std::uint64_t at = unit * k_unit_bytes;
      const std::uint64_t length = std::min(k_unit_bytes, run.length - at);
      std::memset(&bytes[at], 0, length);
    }
    memory.write(run.region, 0, bytes);
  }
}

}  // namespace ferry::test
