#include "multifd/packet_builder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "tests/channels/io.h"
#include "tests/multifd/test_memory.h"
#include "wire/limits.h"

namespace ferry::test {
namespace {

using wire::RunKind;
using wire::WireRun;

WireRun raw(const PageRun& run) {
  return {run, RunKind::raw, static_cast<std::uint32_t>(run.length)};
}
WireRun zero(const PageRun& run) { return {run, RunKind::zero}; }

/// The payload as it goes on the line.
Bytes payload_of(const PacketBuilder& packet) {
  Bytes bytes;
  for (const iovec& piece : packet.payload()) {
    const auto* begin = static_cast<const std::byte*>(piece.iov_base);
    bytes.insert(bytes.end(), begin, begin + piece.iov_len);
  }
  return bytes;
}

/// Everything that a receiver will ask of the packet: it decodes, it is within the limits, and each
/// unit's checksum is that of its payload.
void expect_sound(PacketBuilder& packet) {
  const wire::PacketHeader& header = packet.header();
  const auto decoded = wire::decode_packet(wire::encode(header).bytes);
  ASSERT_TRUE(decoded) << text_of(decoded);
  const Bytes payload = payload_of(packet);
  ASSERT_EQ(payload.size(), header.payload_bytes);
  std::size_t at = 0;
  std::size_t checksum = 0;
  for (const WireRun& run : header.runs) {
    for (std::uint64_t done = 0; done < run.payload_bytes; done += k_unit_bytes) {
      const auto length = std::min<std::size_t>(k_unit_bytes, run.payload_bytes - done);
      ASSERT_EQ(wire::unit_checksum(std::span(payload).subspan(at, length)),
                header.checksums[checksum++]);
      at += length;
    }
  }
}

class PacketBuilderTest : public ::testing::TestWithParam<Reach> {
 protected:
  /// Puts all of `run` into the packet, in as many pieces as it takes.
  void add_all(const TestMemory& memory, PageRun run) {
    while (run.length > 0) {
      const auto taken = packet_.add(memory.memory().regions()[run.region], run);
      ASSERT_TRUE(taken) << text_of(taken);
      ASSERT_GT(*taken, 0u) << "the packet is full";
      run.offset += *taken;
      run.length -= *taken;
    }
  }

  PacketBuilder packet_;
};

INSTANTIATE_TEST_SUITE_P(Both, PacketBuilderTest,
                         ::testing::Values(Reach::mapping, Reach::descriptor),
                         [](const auto& instance) {
                           return instance.param == Reach::mapping ? "Mapped" : "Descriptor";
                         });

TEST_P(PacketBuilderTest, IsEmptyUntilSomethingIsAdded) {
  TestMemory memory(GetParam(), {k_unit_bytes});
  EXPECT_TRUE(packet_.empty());
  add_all(memory, units(0, 1));
  EXPECT_FALSE(packet_.empty());
}

TEST_P(PacketBuilderTest, TellsZerosFromData) {
  TestMemory memory(GetParam(), {4 * k_unit_bytes});
  const Bytes noise = noise_bytes(2 * k_unit_bytes, 1);
  memory.write(0, k_unit_bytes, noise);
  add_all(memory, units(0, 4));

  EXPECT_EQ(packet_.header().runs,
            (std::vector{zero(units(0, 1)), raw(units(1, 2)), zero(units(3, 1))}));
  EXPECT_EQ(packet_.zero_bytes(), 2 * k_unit_bytes);
  EXPECT_EQ(payload_of(packet_), noise);
  expect_sound(packet_);
}

TEST_P(PacketBuilderTest, JoinsRunsThatFollowEachOther) {
  TestMemory memory(GetParam(), {32 * k_unit_bytes});
  memory.write(0, 0, noise_bytes(6 * k_unit_bytes, 2));
  add_all(memory, units(0, 2));
  add_all(memory, units(2, 4));
  add_all(memory, units(6, 3));
  add_all(memory, units(9, 23));

  EXPECT_EQ(packet_.header().runs, (std::vector{raw(units(0, 6)), zero(units(6, 26))}));
  EXPECT_EQ(packet_.payload().size(), 1u) << "the staged bytes touch each other, too";
  expect_sound(packet_);
}

TEST_P(PacketBuilderTest, DoesNotJoinOverAGapOrAcrossRegions) {
  TestMemory memory(GetParam(), {4 * k_unit_bytes, 4 * k_unit_bytes});
  paint(memory, Picture::noise, 3);
  add_all(memory, units(0, 1));
  add_all(memory, units(2, 2));
  add_all(memory, units(0, 1, 1));
  add_all(memory, units(1, 1));

  EXPECT_EQ(packet_.header().runs, (std::vector{raw(units(0, 1)), raw(units(2, 2)),
                                                raw(units(0, 1, 1)), raw(units(1, 1))}));
  expect_sound(packet_);
}

TEST_P(PacketBuilderTest, TakesAPartialLastUnit) {
  for (const Picture picture : {Picture::noise, Picture::zeros}) {
    TestMemory memory(GetParam(), {k_unit_bytes + 5, k_unit_bytes});
    paint(memory, picture, 4);
    packet_.clear();
    add_all(memory, {0, 0, k_unit_bytes + 5});
    add_all(memory, units(0, 1, 1));

    ASSERT_EQ(packet_.header().runs.size(), 2u);
    EXPECT_EQ(packet_.header().runs[0].run, (PageRun{0, 0, k_unit_bytes + 5}));
    EXPECT_EQ(packet_.header().checksums.size(), picture == Picture::noise ? 3u : 0u);
    expect_sound(packet_);
  }
}

TEST_P(PacketBuilderTest, SaysZeroWhenItIsFullAndLosesNothing) {
  TestMemory memory(GetParam(), {3 * 1024 * 1024 + 77});
  paint(memory, Picture::noise, 5);
  const MemoryRegion& region = memory.memory().regions()[0];
  Bytes sent;
  unsigned packets = 0;
  const auto send = [&] {
    expect_sound(packet_);
    const Bytes payload = payload_of(packet_);
    sent.insert(sent.end(), payload.begin(), payload.end());
    packet_.clear();
    ++packets;
  };
  for (PageRun rest{0, 0, region.length}; rest.length > 0;) {
    const std::uint64_t taken = packet_.add(region, rest).value();
    if (taken == 0) {
      ASSERT_FALSE(packet_.empty()) << "an empty packet has room";
      send();
    }
    rest.offset += taken;
    rest.length -= taken;
  }
  send();
  EXPECT_EQ(sent, memory.read({0, 0, region.length}));
  EXPECT_GT(packets, 3u);
}

TEST_P(PacketBuilderTest, KeepsWithinTheLimitsWhenZerosAndDataAlternate) {
  // Single units with a gap between them: nothing can be joined, and runs are what is used up.
  TestMemory memory(GetParam(), {4096 * k_unit_bytes});
  for (std::uint64_t unit = 0; unit < 4096; unit += 64) {
    memory.write(0, unit * k_unit_bytes, noise_bytes(k_unit_bytes, 6));
  }
  const MemoryRegion& region = memory.memory().regions()[0];
  std::uint64_t data_units = 0;
  std::uint64_t zero_units = 0;
  const auto send = [&] {
    expect_sound(packet_);
    for (const WireRun& run : packet_.header().runs) {
      (run.kind == RunKind::zero ? zero_units : data_units) += units_in(run.run.length);
    }
    packet_.clear();
  };
  for (std::uint64_t unit = 0; unit < 4096; unit += 2) {
    while (packet_.add(region, units(unit, 1)).value() == 0) send();
  }
  send();
  EXPECT_EQ(data_units, 64u);
  EXPECT_EQ(zero_units, 2048u - 64u);
}

TEST_P(PacketBuilderTest, KeepsWithinTheLimitsWithManyTinyRegions) {
  const std::vector<std::uint64_t> lengths(wire::k_max_regions, 3);
  TestMemory memory(GetParam(), lengths);
  paint(memory, Picture::noise, 7);
  std::size_t added = 0;
  for (const PageRun& run : memory.runs()) {
    if (packet_.add(memory.memory().regions()[run.region], run).value() == 0) break;
    ++added;
  }
  EXPECT_GT(added, 900u);
  expect_sound(packet_);
}

TEST_P(PacketBuilderTest, TakesZerosThatAreKnownWithoutReadingThem) {
  TestMemory memory(GetParam(), {4 * k_unit_bytes});
  memory.write(0, 0, noise_bytes(k_unit_bytes, 8));
  add_all(memory, units(0, 1));
  EXPECT_TRUE(packet_.add_zeros(units(1, 1)));
  EXPECT_TRUE(packet_.add_zeros(units(2, std::uint64_t{1} << 30)));
  EXPECT_EQ(packet_.header().runs,
            (std::vector{raw(units(0, 1)), zero(units(1, (std::uint64_t{1} << 30) + 1))}));
  EXPECT_EQ(packet_.zero_bytes(), ((std::uint64_t{1} << 30) + 1) * k_unit_bytes);
  expect_sound(packet_);
}

TEST(PacketBuilder, HasRoomForAsManyZeroRunsAsAPacketMayHave) {
  PacketBuilder packet;
  for (std::size_t run = 0; run < wire::k_max_runs; ++run) {
    ASSERT_TRUE(packet.add_zeros(units(2 * run, 1)));
  }
  EXPECT_FALSE(packet.add_zeros(units(2 * wire::k_max_runs, 1)));
  EXPECT_EQ(packet.header().runs.size(), wire::k_max_runs);
  expect_sound(packet);
}

TEST(PacketBuilder, SendsWhatItReadFromADescriptorAndChecksummed) {
  TestMemory memory(Reach::descriptor, {k_unit_bytes});
  const Bytes before = noise_bytes(k_unit_bytes, 9);
  memory.write(0, 0, before);
  PacketBuilder packet;
  ASSERT_EQ(packet.add(memory.memory().regions()[0], units(0, 1)), k_unit_bytes);
  EXPECT_FALSE(packet.in_place());
  memory.write(0, 0, noise_bytes(k_unit_bytes, 10));
  EXPECT_EQ(payload_of(packet), before);
  expect_sound(packet);
}

TEST(PacketBuilder, SendsMappedMemoryFromWhereItLies) {
  TestMemory memory(Reach::mapping, {4 * k_unit_bytes});
  const std::byte* const host = memory.memory().regions()[0].host;
  PacketBuilder packet;
  ASSERT_EQ(packet.add(memory.memory().regions()[0], units(0, 1)), k_unit_bytes);
  EXPECT_FALSE(packet.in_place()) << "zeros are told, not sent";
  memory.write(0, k_unit_bytes, noise_bytes(3 * k_unit_bytes, 9));
  ASSERT_EQ(packet.add(memory.memory().regions()[0], units(1, 2)), 2 * k_unit_bytes);
  ASSERT_EQ(packet.add(memory.memory().regions()[0], units(3, 1)), k_unit_bytes);
  EXPECT_TRUE(packet.in_place());
  ASSERT_EQ(packet.payload().size(), 1u) << "neighbours are one piece";
  EXPECT_EQ(packet.payload()[0].iov_base, host + k_unit_bytes);
  EXPECT_EQ(packet.payload()[0].iov_len, 3 * k_unit_bytes);
  packet.clear();
  EXPECT_FALSE(packet.in_place());
}

TEST(PacketBuilder, CopiesMappedMemoryWhereItIsToldTo) {
  TestMemory memory(Reach::mapping, {4 * k_unit_bytes});
  paint(memory, Picture::noise, 12);
  const Bytes before = memory.read(units(0, 4));
  PacketBuilder packet;
  packet.copy_mapped();
  ASSERT_TRUE(packet.stages(memory.memory().regions()[0]));
  ASSERT_EQ(packet.add(memory.memory().regions()[0], units(0, 4)), 4 * k_unit_bytes);
  paint(memory, Picture::zeros, 0);  // the guest goes on
  EXPECT_TRUE(packet.copied_mapped());
  EXPECT_FALSE(packet.in_place());
  EXPECT_EQ(payload_of(packet), before);
  expect_sound(packet);
}

TEST_P(PacketBuilderTest, StagesInTheBufferThatItWasLentAndInNoOtherUntilItIsCleared) {
  constexpr std::size_t k_buffer_bytes = 256 * 1024;
  TestMemory memory(GetParam(), {128 * k_unit_bytes});
  paint(memory, Picture::noise, 13);
  const MemoryRegion& region = memory.memory().regions()[0];
  Bytes buffer(k_buffer_bytes);
  packet_.copy_mapped();
  packet_.lend(buffer);
  EXPECT_TRUE(packet_.has_loan());
  std::uint64_t taken = 0;
  while (!packet_.full()) {
    taken += packet_.add(region, {0, taken, region.length - taken}).value();
  }
  EXPECT_EQ(taken, k_buffer_bytes) << "as much as there is room for";
  EXPECT_EQ(payload_of(packet_), memory.read({0, 0, taken}));
  for (const iovec& piece : packet_.payload()) {
    EXPECT_GE(piece.iov_base, buffer.data());
    EXPECT_LE(static_cast<std::byte*>(piece.iov_base) + piece.iov_len, buffer.data() + taken);
  }
  expect_sound(packet_);
  packet_.clear();
  EXPECT_FALSE(packet_.has_loan());
}

TEST(PacketBuilder, IsFullOfZerosByAndBy) {
  TestMemory memory(Reach::descriptor, {128 * 1024 * 1024});
  PacketBuilder packet;
  PageRun rest = memory.runs().front();
  while (rest.length > 0 && !packet.full()) {
    const auto taken = packet.add(memory.memory().regions()[0], rest);
    ASSERT_TRUE(taken) << text_of(taken);
    rest.offset += *taken;
    rest.length -= *taken;
  }
  EXPECT_GT(rest.length, 0u) << "whoever reads zeros for a minute is not to be silent for a minute";
  EXPECT_EQ(packet.header().runs.size(), 1u);
}

TEST(PacketBuilder, SaysThatAFileBecameShorter) {
  TestMemory memory(Reach::descriptor, {4 * k_unit_bytes});
  const MemoryRegion& region = memory.memory().regions()[0];
  ASSERT_EQ(::ftruncate(region.fd, k_unit_bytes), 0);
  PacketBuilder packet;
  const auto taken = packet.add(region, units(0, 4));
  EXPECT_EQ(code_of(taken), Errc::system);
  EXPECT_EQ(text_of(taken),
            "read 'ram0' at offset 0x1000: the file became shorter (is something else writing to "
            "it?)");
}

TEST(PacketBuilder, IsAsGoodAsNewWhenCleared) {
  TestMemory memory(Reach::mapping, {128 * k_unit_bytes});
  paint(memory, Picture::stripes, 11);
  const MemoryRegion& region = memory.memory().regions()[0];
  PacketBuilder packet;
  ASSERT_GT(packet.add(region, units(0, 64)).value(), 0u);
  packet.clear();
  EXPECT_TRUE(packet.empty());
  EXPECT_EQ(packet.zero_bytes(), 0u);
  ASSERT_EQ(packet.add(region, units(0, 1)), k_unit_bytes);
  EXPECT_EQ(packet.header().runs, (std::vector{raw(units(0, 1))}));
  expect_sound(packet);
}

}  // namespace
}  // namespace ferry::test
