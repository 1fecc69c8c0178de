// What a guest writes of its devices comes out as it went in, and who misreads is told where.
#include "ferry/device_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/checksum.h"
#include "session/state_spool.h"
#include "tests/same_bytes.h"
#include "tests/session/memory_guest.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t k_enough_bytes = std::uint64_t{1} << 30;

struct Registers {
  std::uint64_t rip;
  std::uint32_t flags;
  friend bool operator==(const Registers&, const Registers&) = default;
};

std::vector<std::byte> noise(std::size_t bytes) {
  std::mt19937_64 random(bytes);
  std::vector<std::byte> out(bytes);
  std::ranges::generate(out, [&] { return static_cast<std::byte>(random()); });
  return out;
}

/// Written into a spool, and about to be read.
class DeviceState : public testing::Test {
 protected:
  Result<void> finish() {
    if (auto finished = out_.finish(); !finished) return finished;
    return spool_.close();
  }
  /// What reading fails with.
  template <class T>
  static std::string why(const Result<T>& read) {
    return read ? "it was read" : read.error().text();
  }

  StateSpool spool_{k_enough_bytes, testing::TempDir()};
  StateWriter out_{spool_};
  StateReader in_{spool_};
};

TEST_F(DeviceState, OfEveryTypeComesOutAsItWentIn) {
  const auto blob = noise(1000);
  out_.section("numbers", 7).u8(1).u16(0x0203).u32(0x04050607).u64(0x08090a0b0c0d0e0f);
  out_.boolean(true).boolean(false).string("a name").plain(Registers{9, 8}).bytes(blob);
  out_.section("empty");
  ASSERT_TRUE(finish());

  const auto numbers = in_.next().value().value();
  EXPECT_EQ(numbers.name, "numbers");
  EXPECT_EQ(numbers.version, 7u);
  EXPECT_EQ(numbers.length, out_.bytes_written());
  EXPECT_EQ(in_.u8(), 1);
  EXPECT_EQ(in_.u16(), 0x0203);
  EXPECT_EQ(in_.u32(), 0x04050607u);
  EXPECT_EQ(in_.u64(), 0x08090a0b0c0d0e0fu);
  EXPECT_EQ(in_.boolean(), true);
  EXPECT_EQ(in_.boolean(), false);
  EXPECT_EQ(in_.string(), "a name");
  EXPECT_EQ(in_.plain<Registers>(), (Registers{9, 8}));
  std::vector<std::byte> read(blob.size());
  ASSERT_TRUE(in_.bytes(read));
  EXPECT_EQ(read, blob);
  EXPECT_EQ(in_.remaining(), 0u);
  EXPECT_EQ(in_.next().value().value().name, "empty");
  EXPECT_EQ(in_.next().value(), std::nullopt);
}

TEST_F(DeviceState, IsLittleEndian) {
  out_.section("n").u32(0x04030201);
  ASSERT_TRUE(finish());
  ASSERT_TRUE(in_.next());
  for (std::uint8_t byte = 1; byte <= 4; ++byte) EXPECT_EQ(in_.u8(), byte);
}

TEST_F(DeviceState, ComesThroughTheFileWhereItIsTooMuchForMemory) {
  const auto blob = noise(3 * StateSpool::k_in_memory / 2 + 12345);
  out_.section("before").u32(1);
  out_.section("framebuffer").bytes(blob);
  out_.section("after").u32(2);
  ASSERT_TRUE(finish());

  ASSERT_TRUE(in_.next());
  EXPECT_EQ(in_.u32(), 1u);
  ASSERT_EQ(in_.next().value().value().length, blob.size());
  std::vector<std::byte> read;
  while (in_.remaining() > 0) {
    const auto part = in_.some(100'000).value();
    read.insert(read.end(), part.begin(), part.end());
  }
  EXPECT_TRUE(read == blob);
  ASSERT_TRUE(in_.next());
  EXPECT_EQ(in_.u32(), 2u);
}

TEST_F(DeviceState, AReadBeyondTheEndNamesSectionVersionAndOffset) {
  out_.section("nic", 3).u32(1).u16(2);
  ASSERT_TRUE(finish());
  ASSERT_TRUE(in_.next());
  ASSERT_TRUE(in_.u32());
  EXPECT_EQ(why(in_.u64()),
            "load device state 'nic' (version 3) at offset 4 of 6: 8 bytes wanted, 2 left");
  EXPECT_EQ(in_.u16(), 2) << "nothing was taken";
}

TEST_F(DeviceState, BytesThatWereNotReadAreFoundAtTheNextSection) {
  out_.section("nic", 3).u32(1).u16(2);
  out_.section("disk").u8(1);
  ASSERT_TRUE(finish());
  ASSERT_TRUE(in_.next());
  ASSERT_TRUE(in_.u32());
  EXPECT_EQ(why(in_.next()),
            "load device state 'nic' (version 3) at offset 4 of 6: 2 bytes of it were not read");
  in_.skip();
  EXPECT_EQ(in_.next().value().value().name, "disk");
}

TEST_F(DeviceState, WhatMakesNoSenseIsFoundWhereItStands) {
  out_.section("odd").u8(7).u32(1'000'000).u32(3);
  ASSERT_TRUE(finish());
  EXPECT_THAT(why(in_.u8()), HasSubstr("before the first section"));
  ASSERT_TRUE(in_.next());
  EXPECT_THAT(why(in_.boolean()), HasSubstr("at offset 0 of 9: 7 where 0 or 1"));
  EXPECT_THAT(why(in_.string()), HasSubstr("at offset 1 of 9: a string of 1000000 bytes"));
}

TEST_F(DeviceState, IsRefusedWhereItHasNoNameOrOneThatIsNone) {
  const auto refused = [](auto write) {
    StateSpool spool(k_enough_bytes, "/tmp");
    StateWriter out(spool);
    write(out);
    const auto done = out.finish();
    return !done && done.error().code == Errc::usage;
  };
  EXPECT_TRUE(refused([](StateWriter& out) { out.u8(1); }));
  EXPECT_TRUE(refused([](StateWriter& out) { out.section(""); }));
  EXPECT_TRUE(refused([](StateWriter& out) { out.section(std::string(256, 'a')); }));
  EXPECT_TRUE(refused([](StateWriter& out) { out.section("a").section("b").section("a"); }));
  EXPECT_FALSE(refused([](StateWriter& out) { out.section("a").section("b"); }));
}

TEST_F(DeviceState, AWriterRemembersItsFirstFailureAndDoesNothingMore) {
  StateSpool small(100, "/tmp");
  StateWriter out(small);
  out.section("too much").bytes(noise(k_state_piece_bytes));
  ASSERT_FALSE(out.status());
  EXPECT_THAT(out.status().error().text(), HasSubstr("'too much': more than 100 bytes"));
  out.section("another").u8(1);
  EXPECT_EQ(out.finish().error().text(), out.status().error().text());
  EXPECT_EQ(small.sections(), 1u);
}

// What a peer may say, which is not what a StateWriter says.

const auto k_piece = noise(k_state_piece_bytes);

Errc refused_with(const Result<void>& done) {
  EXPECT_FALSE(done);
  return done ? Errc::usage : done.error().code;
}

TEST(StateSpool, RefusesWhatComesOutOfOrder) {
  StateSpool spool(k_enough_bytes, "/tmp");
  EXPECT_EQ(refused_with(spool.append(k_piece)), Errc::protocol);
  EXPECT_EQ(refused_with(spool.end_section(0, 0)), Errc::protocol);
  ASSERT_TRUE(spool.begin_section("a", 1));
  EXPECT_EQ(refused_with(spool.begin_section("b", 1)), Errc::protocol);
  EXPECT_EQ(refused_with(spool.close()), Errc::protocol) << "the section has no end";
}

TEST(StateSpool, RefusesWhatComesAfterAll) {
  StateSpool spool(k_enough_bytes, "/tmp");
  ASSERT_TRUE(spool.begin_section("a", 1));
  ASSERT_TRUE(spool.end_section(0, 0));
  ASSERT_TRUE(spool.close());
  EXPECT_EQ(refused_with(spool.begin_section("b", 1)), Errc::protocol);
  EXPECT_EQ(refused_with(spool.append(k_piece)), Errc::protocol);
  EXPECT_EQ(refused_with(spool.end_section(0, 0)), Errc::protocol);
}

TEST(StateSpool, RefusesANameThatComesTwiceAndTooManyOfThem) {
  StateSpool spool(k_enough_bytes, "/tmp");
  for (int i = 0; i < 4096; ++i) {
    ASSERT_TRUE(spool.begin_section(std::to_string(i), 1));
    ASSERT_TRUE(spool.end_section(0, 0));
    if (i > 0) continue;
    EXPECT_EQ(refused_with(spool.begin_section("0", 1)), Errc::protocol);
  }
  EXPECT_EQ(refused_with(spool.begin_section("one more", 1)), Errc::protocol);
}

TEST(StateSpool, RefusesAShortPieceInTheMiddle) {
  StateSpool spool(k_enough_bytes, "/tmp");
  ASSERT_TRUE(spool.begin_section("a", 1));
  ASSERT_TRUE(spool.append(k_piece));
  ASSERT_TRUE(spool.append(std::span(k_piece).first(10)));
  EXPECT_EQ(refused_with(spool.append(k_piece)), Errc::protocol);
}

TEST(StateSpool, FindsThatLengthOrChecksumDiffer) {
  for (const std::uint64_t length : {k_state_piece_bytes, k_state_piece_bytes + 1}) {
    StateSpool spool(k_enough_bytes, "/tmp");
    ASSERT_TRUE(spool.begin_section("a", 1));
    ASSERT_TRUE(spool.append(k_piece));
    ASSERT_TRUE(spool.end_section(length, 1));
    EXPECT_EQ(refused_with(spool.close()), Errc::integrity);
  }
}

/// The checksum that the end of a section of `k_piece`s has.
std::uint64_t checksum_of(std::size_t pieces) {
  std::uint64_t checksum = 0;
  for (std::size_t i = 0; i < pieces; ++i) checksum = chain(checksum, xxh3_64(k_piece));
  return checksum;
}

TEST(StateSpool, TakesPiecesInAnyOrderAlsoBeforeTheirSectionBegins) {
  const auto tail = noise(1000);
  StateSpool spool(k_enough_bytes, "/tmp");
  ASSERT_TRUE(spool.put(1, 2 * k_state_piece_bytes, tail));
  ASSERT_TRUE(spool.begin_section("a", 1));
  ASSERT_TRUE(spool.end_section(0, 0));
  ASSERT_TRUE(spool.put(1, k_state_piece_bytes, k_piece));
  ASSERT_TRUE(spool.begin_section("b", 1));
  ASSERT_TRUE(spool.append(k_piece));
  ASSERT_TRUE(spool.end_section(2 * k_state_piece_bytes + tail.size(),
                                chain(checksum_of(2), xxh3_64(tail))));
  ASSERT_TRUE(spool.close());
  EXPECT_EQ(spool.next_section().value().value().length, 0u);
  EXPECT_EQ(spool.next_section().value().value().name, "b");
  for (const auto& wanted : {k_piece, k_piece, tail}) {
    const auto piece = spool.next_piece().value();
    EXPECT_TRUE(same_bytes(piece, wanted));
  }
  EXPECT_TRUE(spool.next_piece().value().empty());
}

TEST(StateSpool, KeepsPiecesOfSeveralThreads) {
  constexpr std::size_t k_pieces = 100;  // more than it keeps in memory
  StateSpool spool(k_enough_bytes, testing::TempDir());
  ASSERT_TRUE(spool.begin_section("a", 1));
  {
    std::vector<std::jthread> lanes;
    for (std::size_t lane = 0; lane < 3; ++lane) {
      lanes.emplace_back([&spool, lane] {
        for (std::size_t i = lane; i < k_pieces; i += 3) {
          EXPECT_TRUE(spool.put(0, i * k_state_piece_bytes, k_piece));
        }
      });
    }
  }
  ASSERT_TRUE(spool.end_section(k_pieces * k_state_piece_bytes, checksum_of(k_pieces)));
  ASSERT_TRUE(spool.close());
  ASSERT_TRUE(spool.next_section());
  for (std::size_t i = 0; i < k_pieces; ++i) {
    EXPECT_TRUE(same_bytes(spool.next_piece().value(), k_piece));
  }
}

TEST(StateSpool, RefusesAPieceThatComesTwiceOrLiesWhereNoneDoes) {
  StateSpool spool(k_enough_bytes, "/tmp");
  ASSERT_TRUE(spool.begin_section("a", 1));
  ASSERT_TRUE(spool.append(k_piece));
  EXPECT_EQ(refused_with(spool.put(0, 0, k_piece)), Errc::protocol) << "twice";
  EXPECT_EQ(refused_with(spool.put(0, 1, k_piece)), Errc::protocol);
  EXPECT_EQ(refused_with(spool.put(0, k_state_piece_bytes, {})), Errc::protocol);
  EXPECT_EQ(refused_with(spool.put(0, k_state_piece_bytes, noise(k_state_piece_bytes + 1))),
            Errc::protocol);
}

TEST(StateSpool, RefusesASecondShortPieceOfASection) {
  StateSpool spool(k_enough_bytes, "/tmp");
  ASSERT_TRUE(spool.put(0, k_state_piece_bytes, noise(1)));
  ASSERT_TRUE(spool.put(1, k_state_piece_bytes, noise(1))) << "of another";
  EXPECT_EQ(refused_with(spool.put(0, 2 * k_state_piece_bytes, noise(1))), Errc::protocol);
}

TEST(StateSpool, RefusesPiecesOfASectionThatNeverBegan) {
  StateSpool spool(k_enough_bytes, "/tmp");
  ASSERT_TRUE(spool.put(0, 0, k_piece));
  EXPECT_EQ(refused_with(spool.close()), Errc::protocol);
}

TEST(StateSpool, FindsAHole) {
  // As long as it should be, and with the right checksums.
  StateSpool spool(k_enough_bytes, "/tmp");
  ASSERT_TRUE(spool.begin_section("a", 1));
  ASSERT_TRUE(spool.put(0, 0, k_piece));
  ASSERT_TRUE(spool.put(0, std::uint64_t{1} << 40, k_piece));
  ASSERT_TRUE(spool.end_section(2 * k_state_piece_bytes, checksum_of(2)));
  EXPECT_EQ(refused_with(spool.close()), Errc::integrity);
}

TEST(StateSpool, TakesNoMoreThanItMay) {
  StateSpool spool(k_state_piece_bytes, "/tmp");
  ASSERT_TRUE(spool.begin_section("a", 1));
  ASSERT_TRUE(spool.append(k_piece));
  EXPECT_EQ(refused_with(spool.append(std::span(k_piece).first(1))), Errc::refused);
}

TEST(StateSpool, SaysWhereItCannotKeepIt) {
  StateSpool spool(k_enough_bytes, "/nowhere");
  ASSERT_TRUE(spool.begin_section("a", 1));
  Result<void> kept;
  for (std::size_t done = 0; kept && done <= StateSpool::k_in_memory; done += k_piece.size()) {
    kept = spool.append(k_piece);
  }
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, Errc::system);
  EXPECT_THAT(kept.error().text(), HasSubstr("/nowhere"));
}

TEST(DestinationGuest, ThatTakesNoStateRefusesItByName) {
  StateSpool spool(k_enough_bytes, "/tmp");
  ASSERT_TRUE(StateWriter(spool).section("vcpu0").finish());
  ASSERT_TRUE(spool.close());
  StateReader in(spool);
  MemoryDestination guest;
  const auto loaded = guest.load_state(in);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().text(), "load device state 'vcpu0': this guest takes none");
}

}  // namespace
}  // namespace ferry::test
