#include "wire/packet.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/wire/forge.h"

namespace ferry::wire {
namespace {

WireRun raw(RegionId region, std::uint64_t first_unit, std::uint32_t bytes) {
  return {.run = {region, first_unit * k_unit_bytes, bytes}, .payload_bytes = bytes};
}
WireRun zeros(RegionId region, std::uint64_t first_unit, std::uint64_t bytes) {
  return {.run = {region, first_unit * k_unit_bytes, bytes}, .kind = RunKind::zero};
}

/// A header whose sums and number of checksums fit its runs.
PacketHeader header_of(std::vector<WireRun> runs) {
  PacketHeader header;
  header.runs = std::move(runs);
  for (const WireRun& run : header.runs) {
    header.payload_bytes += run.payload_bytes;
    for (std::uint64_t unit = 0; unit < units_in(run.payload_bytes); ++unit) {
      header.checksums.push_back(0x0101010101010101 * (header.checksums.size() + 1));
    }
  }
  header.raw_bytes = header.payload_bytes;
  return header;
}

PacketHeader some_header() {
  PacketHeader header = header_of({raw(1, 2, 2 * k_unit_bytes), zeros(3, 0, 100), raw(1023, 9, 5)});
  header.sequence = 0x0807060504030201;
  header.flags = k_stable | k_resend;
  header.round = 0x14131211;
  return header;
}

PacketHeader end_of_round() {
  PacketHeader header;
  header.flags = k_end_round;
  return header;
}

/// Fields that a PacketHeader cannot have, or that do not follow from it.
struct Forgery {
  std::uint8_t reserved = 0;
  std::uint8_t run_reserved_low = 0;
  std::uint16_t run_reserved_high = 0;
  int more_runs = 0;  // than there are
  int more_checksums = 0;
};

/// The format a second time, and it asserts nothing.
Bytes forged(const PacketHeader& header, const Forgery& forgery = {}) {
  return sealed("FRYP", [&](ByteWriter& out) {
    out.u64(header.sequence);
    out.u32(header.flags);
    out.u32(header.round);
    out.u8(static_cast<std::uint8_t>(header.codec));
    out.u8(forgery.reserved);
    out.u16(static_cast<std::uint16_t>(static_cast<int>(header.runs.size()) + forgery.more_runs));
    out.u32(static_cast<std::uint32_t>(static_cast<int>(header.checksums.size()) +
                                       forgery.more_checksums));
    out.u32(header.payload_bytes);
    out.u32(header.raw_bytes);
    for (const WireRun& run : header.runs) {
      out.u32(run.run.region);
      out.u8(static_cast<std::uint8_t>(run.kind));
      out.u8(forgery.run_reserved_low);
      out.u16(forgery.run_reserved_high);
      out.u64(run.run.offset);
      out.u64(run.run.length);
      out.u32(run.payload_bytes);
      out.u32(run.parameter);
    }
    for (const std::uint64_t checksum : header.checksums) out.u64(checksum);
  });
}

bool decodes(const PacketHeader& header) {
  const auto decoded = decode_packet(forged(header));
  return decoded && decoded->header == header;
}
bool is_refused(const PacketHeader& header, const Forgery& forgery = {}) {
  const auto decoded = decode_packet(forged(header, forgery));
  return !decoded && decoded.error().code == Errc::protocol;
}

/// Does a packet decode with one run that is `change`d?
bool refuses_a_run(void (*change)(WireRun&)) {
  WireRun run = raw(0, 1, k_unit_bytes);
  change(run);
  PacketHeader header = header_of({run});
  header.checksums.resize(1);
  return is_refused(header);
}

TEST(Packet, HasTheseBytes) {
  const Bytes golden = from_hex(
      "46525950 a8000000 0102030405060708 00000500 11121314 00 00 0300 03000000 05200000 05200000"
      "01000000 00 000000 0020000000000000 0020000000000000 00200000 00000000"
      "03000000 01 000000 0000000000000000 6400000000000000 00000000 00000000"
      "ff030000 00 000000 0090000000000000 0500000000000000 05000000 00000000"
      "0101010101010101 0202020202020202 0303030303030303 b66016ca8d7f4716");
  const EncodedHeader encoded = encode(some_header());
  EXPECT_EQ(to_hex(encoded.bytes), to_hex(golden));
  const auto decoded = decode_packet(golden);
  ASSERT_TRUE(decoded) << decoded.error().text();
  EXPECT_EQ(decoded->header, some_header());
  EXPECT_EQ(decoded->checksum, encoded.checksum);
}

TEST(Packet, AnEndOfRoundHasTheseBytes) {
  PacketHeader header = end_of_round();
  header.sequence = 7;
  header.round = 1;
  const Bytes golden = from_hex(
      "46525950 30000000 0700000000000000 00000800 01000000 00 00 0000 00000000 00000000 00000000"
      "f955555951c85b20");
  EXPECT_EQ(to_hex(encode(header).bytes), to_hex(golden));
  EXPECT_EQ(decode_packet(golden)->header, header);
}

TEST(Packet, ChecksumsAUnitWithXxh3) { EXPECT_EQ(unit_checksum(Bytes(4096)), 0x93d76fe148c689bau); }

TEST(Packet, ItsChecksumIsItsLastField) {
  const EncodedHeader encoded = encode(some_header());
  ByteReader tail(std::span(encoded.bytes).last(8));
  EXPECT_EQ(tail.u64(), encoded.checksum);
}

TEST(Packet, ComesOutAsItWentIn) {
  std::mt19937_64 random(4);
  constexpr std::uint32_t k_flags[] = {k_stable, k_live, k_stable | k_resend};  // placed, perhaps
  for (int trial = 0; trial < 300; ++trial) {
    std::vector<WireRun> runs;
    std::uint64_t room = k_max_payload_bytes;
    for (std::uint64_t left = 1 + random() % 100; left > 0; --left) {
      const auto region = static_cast<RegionId>(random() % k_max_regions);
      const std::uint64_t unit = random() % (std::uint64_t{1} << 31);
      const auto bytes = static_cast<std::uint32_t>(1 + random() % 20'000);
      if (random() % 2 == 0 || bytes > room) {
        runs.push_back(zeros(region, unit, 1 + random() % (std::uint64_t{1} << 40)));
      } else {
        runs.push_back(raw(region, unit, bytes));
        room -= bytes;
      }
    }
    PacketHeader header = header_of(std::move(runs));
    header.sequence = random();
    header.flags = k_flags[random() % 3];
    if (header.payload_bytes > 0 && random() % 2 == 0) header.flags |= k_placed;
    header.round = static_cast<std::uint32_t>(random());
    std::ranges::generate(header.checksums, random);
    const EncodedHeader encoded = encode(header);
    ASSERT_EQ(to_hex(encoded.bytes), to_hex(forged(header)));
    ASSERT_EQ(packet_header_length(std::span(encoded.bytes).first(k_prologue_bytes)).value(),
              encoded.bytes.size());
    const auto decoded = decode_packet(encoded.bytes);
    ASSERT_TRUE(decoded) << decoded.error().text();
    ASSERT_EQ(decoded->header, header);
    ASSERT_EQ(decoded->checksum, encoded.checksum);
  }
}

TEST(Packet, AnyDamageIsRefused) {
  expect_damage_is_refused(encode(some_header()).bytes, decode_packet);
  expect_damage_is_refused(encode(end_of_round()).bytes, decode_packet);
}

TEST(Packet, AnythingElseIsRefusedOrMeansWhatItSays) {
  expect_mutants_are_refused_or_mean_themselves(
      encode(some_header()).bytes, decode_packet, [](const DecodedHeader& decoded) {
        const EncodedHeader again = encode(decoded.header);
        // Unknown optional flags were dropped.
        return again.checksum == decoded.checksum ? again.bytes : Bytes{};
      });
}

TEST(Packet, IsStableOrLiveOrAnEndOfRound) {
  PacketHeader header = header_of({zeros(0, 0, k_unit_bytes)});
  for (const std::uint32_t good : {+k_stable, +k_live, k_stable | k_resend}) {
    header.flags = good;
    EXPECT_TRUE(decodes(header)) << good;
  }
  for (const std::uint32_t bad : {0u, k_stable | k_live, +k_resend, k_live | k_resend}) {
    header.flags = bad;
    EXPECT_TRUE(is_refused(header)) << bad;
  }
  PacketHeader end = end_of_round();
  EXPECT_TRUE(decodes(end));
  for (const std::uint32_t beside : {+k_stable, +k_live, +k_resend}) {
    end.flags = k_end_round | beside;
    EXPECT_TRUE(is_refused(end)) << beside;
  }
}

TEST(Packet, SaysThatItsPayloadWasPlacedWhereItHasOne) {
  PacketHeader header = some_header();
  for (const std::uint32_t beside : {+k_stable, +k_live, k_stable | k_resend}) {
    header.flags = beside | k_placed;
    EXPECT_TRUE(decodes(header)) << beside;
  }
  header.flags = k_placed;
  EXPECT_TRUE(is_refused(header)) << "neither stable nor live";
  PacketHeader told = header_of({zeros(0, 0, k_unit_bytes)});
  told.flags = k_stable | k_placed;
  EXPECT_TRUE(is_refused(told)) << "zeros are told";
  PacketHeader end = end_of_round();
  end.flags |= k_placed;
  EXPECT_TRUE(is_refused(end));
}

TEST(Packet, OfDeviceStateIsOnePiece) {
  const auto of_state = [](std::vector<WireRun> runs, std::uint32_t flags = k_stable) {
    PacketHeader header = header_of(std::move(runs));
    header.flags = flags | k_state;
    return header;
  };
  constexpr std::uint32_t k_piece = k_max_state_piece_bytes;
  constexpr std::uint64_t k_units = k_piece / k_unit_bytes;
  EXPECT_TRUE(decodes(of_state({raw(1023, 0, k_piece)})));
  EXPECT_TRUE(decodes(of_state({raw(0, 5 * k_units, 1)}, k_stable | k_resend)));
  EXPECT_TRUE(is_refused(of_state({raw(0, 0, k_piece)}, k_live)));
  EXPECT_TRUE(is_refused(of_state({raw(0, 0, k_piece)}, k_stable | k_placed)));
  EXPECT_TRUE(is_refused(of_state({raw(0, 1, k_piece)}))) << "not where pieces begin";
  EXPECT_TRUE(is_refused(of_state({raw(0, 0, k_piece + 1)})));
  EXPECT_TRUE(is_refused(of_state({raw(1024, 0, k_piece)})));
  EXPECT_TRUE(is_refused(of_state({raw(0, 0, k_piece), raw(0, k_units, k_piece)})));
  EXPECT_TRUE(is_refused(of_state({zeros(0, 0, k_piece)})));
  PacketHeader end = end_of_round();
  end.flags |= k_state;
  EXPECT_TRUE(is_refused(end));
}

TEST(Packet, AnUnknownCriticalFlagIsRefusedAndAnOptionalOneDropped) {
  for (unsigned bit = 0; bit < 32; ++bit) {
    if ((k_known_flags >> bit & 1) != 0) continue;
    PacketHeader header = some_header();
    header.flags |= 1u << bit;
    if (bit >= 16) {
      EXPECT_TRUE(is_refused(header)) << bit;
    } else {
      const auto decoded = decode_packet(forged(header));
      ASSERT_TRUE(decoded) << bit;
      EXPECT_EQ(decoded->header, some_header());
    }
  }
}

TEST(Packet, AnEndOfRoundCarriesNothing) {
  PacketHeader end = header_of({zeros(0, 0, 1)});
  end.flags = k_end_round;
  EXPECT_TRUE(is_refused(end));
  end = end_of_round();
  end.payload_bytes = end.raw_bytes = 1;
  EXPECT_TRUE(is_refused(end));
  end = end_of_round();
  end.checksums = {1};
  EXPECT_TRUE(is_refused(end));
}

TEST(Packet, AnyOtherCarriesARun) { EXPECT_TRUE(is_refused(header_of({}))); }

TEST(Packet, KnowsNoCodecYet) {
  PacketHeader header = some_header();
  for (const unsigned codec : {1u, 2u, 255u}) {
    header.codec = static_cast<Codec>(codec);
    EXPECT_TRUE(is_refused(header)) << codec;
  }
}

TEST(Packet, KnowsRawAndZeroRunsOnly) {
  for (unsigned kind = 2; kind < 256; ++kind) {
    PacketHeader header = header_of({zeros(0, 0, k_unit_bytes)});
    header.runs[0].kind = static_cast<RunKind>(kind);
    EXPECT_TRUE(is_refused(header)) << kind;
  }
}

TEST(Packet, ReservedFieldsAreZero) {
  EXPECT_TRUE(is_refused(some_header(), {.reserved = 1}));
  EXPECT_TRUE(is_refused(some_header(), {.run_reserved_low = 1}));
  EXPECT_TRUE(is_refused(some_header(), {.run_reserved_high = 0x100}));
  EXPECT_TRUE(refuses_a_run([](WireRun& run) { run.parameter = 1; }));
}

TEST(Packet, EveryRunCouldLieInSomeMemory) {
  EXPECT_TRUE(refuses_a_run([](WireRun& run) { run.run.offset += 1; }));
  EXPECT_TRUE(refuses_a_run([](WireRun& run) { run.run.offset = k_unit_bytes / 2; }));
  EXPECT_TRUE(refuses_a_run([](WireRun& run) { run.run.region = k_max_regions; }));
  EXPECT_TRUE(refuses_a_run([](WireRun& run) { run.run.offset = k_max_memory_bytes; }));
  EXPECT_TRUE(refuses_a_run([](WireRun& run) { run.run.offset = UINT64_MAX - k_unit_bytes + 1; }));
  EXPECT_TRUE(is_refused(header_of({zeros(0, 0, 0)})));
  EXPECT_TRUE(is_refused(header_of({raw(0, 0, 0)})));
  EXPECT_TRUE(is_refused(header_of({zeros(0, 1, UINT64_MAX)})));

  constexpr std::uint64_t k_last_unit = k_max_memory_bytes / k_unit_bytes - 1;
  EXPECT_TRUE(decodes(header_of({raw(k_max_regions - 1, k_last_unit, k_unit_bytes)})));
  EXPECT_TRUE(decodes(header_of({zeros(0, 0, k_max_memory_bytes)})));
  EXPECT_TRUE(is_refused(header_of({zeros(0, 0, k_max_memory_bytes + 1)})));
  EXPECT_TRUE(is_refused(header_of({zeros(0, k_last_unit, k_unit_bytes + 1)})));
}

TEST(Packet, ARunsPayloadFitsItsKind) {
  EXPECT_TRUE(refuses_a_run([](WireRun& run) { run.run.length -= 1; }));
  EXPECT_TRUE(refuses_a_run([](WireRun& run) { run.run.length += 1; }));
  EXPECT_TRUE(refuses_a_run([](WireRun& run) { run.kind = RunKind::zero; }));
  EXPECT_TRUE(refuses_a_run([](WireRun& run) { run.run.length += std::uint64_t{1} << 32; }));
}

TEST(Packet, ThePayloadIsTheSumOfTheRuns) {
  for (const int difference : {-1, 1}) {
    PacketHeader header = some_header();
    header.payload_bytes += static_cast<std::uint32_t>(difference);
    EXPECT_TRUE(is_refused(header));
    header.raw_bytes += static_cast<std::uint32_t>(difference);
    EXPECT_TRUE(is_refused(header));
    header.payload_bytes = some_header().payload_bytes;
    EXPECT_TRUE(is_refused(header));
  }
  // Two halves of 2^32: a sum in 32 bits would be 0.
  PacketHeader wraps = header_of({raw(0, 0, 0x80000000), raw(0, 0, 0x80000000)});
  wraps.payload_bytes = wraps.raw_bytes = 0;
  wraps.checksums.clear();
  EXPECT_TRUE(is_refused(wraps));
}

TEST(Packet, HasAMebibyteOfPayloadAtMost) {
  EXPECT_TRUE(decodes(header_of({raw(0, 0, k_max_payload_bytes)})));
  EXPECT_TRUE(is_refused(header_of({raw(0, 0, k_max_payload_bytes + 1)})));
  EXPECT_TRUE(is_refused(header_of({raw(0, 0, k_max_payload_bytes), raw(0, 0, 1)})));
}

TEST(Packet, HasAChecksumForEveryUnitOfEveryRun) {
  PacketHeader header = some_header();
  header.checksums.push_back(0);
  EXPECT_TRUE(is_refused(header));
  header.checksums.resize(2);
  EXPECT_TRUE(is_refused(header));
}

TEST(Packet, CountsAreComparedWithTheBytesThatThereAre) {
  EXPECT_TRUE(is_refused(some_header(), {.more_runs = 1}));
  EXPECT_TRUE(is_refused(some_header(), {.more_runs = -1}));
  EXPECT_TRUE(is_refused(some_header(), {.more_runs = -4})) << "65535";
  EXPECT_TRUE(is_refused(some_header(), {.more_checksums = 1}));
  EXPECT_TRUE(is_refused(some_header(), {.more_checksums = -1}));
  EXPECT_TRUE(is_refused(some_header(), {.more_checksums = -4})) << "2^32 - 1";
  // A run is as long as four checksums.
  EXPECT_TRUE(is_refused(some_header(), {.more_runs = 1, .more_checksums = -4}));
}

TEST(Packet, HasAThousandAndTwentyFourRunsAtMost) {
  std::vector<WireRun> runs(k_max_runs, zeros(0, 0, 1));
  EXPECT_TRUE(decodes(header_of(runs)));
  runs.push_back(zeros(0, 0, 1));
  EXPECT_TRUE(is_refused(header_of(runs)));
}

TEST(Packet, CanReachTheLongestHeaderAndNoMore) {
  // As many units as fit: two bytes more than a unit would be two units, with one byte.
  std::vector<WireRun> runs(255, raw(0, 0, k_unit_bytes + 1));
  runs.resize(k_max_runs, raw(0, 0, 1));
  const PacketHeader header = header_of(runs);
  ASSERT_EQ(header.checksums.size(), k_max_checksums);
  EXPECT_TRUE(decodes(header));
  EXPECT_EQ(encode(header).bytes.size(), k_max_packet_header_bytes);

  PacketHeader more = header;
  more.checksums.push_back(0);
  EXPECT_TRUE(is_refused(more));
}

}  // namespace
}  // namespace ferry::wire
