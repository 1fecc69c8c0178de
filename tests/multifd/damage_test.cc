// Bits that flip on the way from PageSender to PageReceiver.
#include <gtest/gtest.h>

#include "tests/channels/io.h"
#include "tests/multifd/test_memory.h"
#include "tests/multifd/transfer.h"
#include "wire/limits.h"

namespace ferry::test {
namespace {

// One packet's worth of noise, so that what is where on the line is known.
constexpr std::uint64_t k_bytes = 16 * k_unit_bytes;
constexpr std::uint64_t k_header_bytes = 48 + 32 + 16 * 8;
// What follows: resends of one unit, and an end of round that may overtake any of them.
constexpr std::uint64_t k_resend_header_bytes = 48 + 32 + 8;
constexpr std::uint64_t k_resend_bytes = k_resend_header_bytes + k_unit_bytes;

/// A byte well within the unit's payload in the first packet.
constexpr std::uint64_t in_unit(std::uint64_t unit) {
  return k_header_bytes + unit * k_unit_bytes + 1000;
}
/// A byte of the payload of resend 0, 1, ..., whether or not the end of round came before it.
constexpr std::uint64_t in_resend(std::uint64_t resend) {
  return k_header_bytes + k_bytes + resend * k_resend_bytes + k_resend_header_bytes + 1000;
}

class DamageTest : public ::testing::TestWithParam<Reach> {
 protected:
  DamageTest() { paint(source_, Picture::noise, 1); }

  Result<std::vector<PageRun>> transfer(std::vector<std::uint64_t> flips) {
    transfer_ = std::make_unique<Transfer>(source_.memory(), destination_.memory(),
                                           Transfer::Options{.flips = std::move(flips)});
    return transfer_->round(source_.runs());
  }

  void expect_repaired(std::uint64_t resent_units) {
    EXPECT_TRUE(same_bytes(destination_.content(), source_.content()));
    EXPECT_EQ(transfer_->sender().totals().resent_units, resent_units);
    EXPECT_EQ(transfer_->receiver().totals().resent_units, resent_units);
    ASSERT_TRUE(transfer_->receiver().freeze());
    EXPECT_EQ(transfer_->receiver().transcript(), transfer_->sender().transcript());
    EXPECT_NE(transfer_->sender().transcript().lanes[0].verdicts, 0u);
    EXPECT_TRUE(transfer_->receiver().complete());
  }

  TestMemory source_{GetParam(), {k_bytes}};
  TestMemory destination_{GetParam(), {k_bytes}};
  std::unique_ptr<Transfer> transfer_;
};

INSTANTIATE_TEST_SUITE_P(Both, DamageTest, ::testing::Values(Reach::mapping, Reach::descriptor),
                         [](const auto& instance) {
                           return instance.param == Reach::mapping ? "Mapped" : "Descriptor";
                         });

TEST_P(DamageTest, APageThatIsDamagedIsSentAgain) {
  const auto done = transfer({in_unit(5)});
  ASSERT_TRUE(done) << text_of(done);
  EXPECT_TRUE(done->empty()) << "damage is no suspect";
  expect_repaired(1);
}

TEST_P(DamageTest, SeveralPagesOfAPacketAreSentAgainTogether) {
  const auto done = transfer({in_unit(0), in_unit(1), in_unit(7), in_unit(15)});
  ASSERT_TRUE(done) << text_of(done);
  expect_repaired(4);
  EXPECT_EQ(transfer_->sender().totals().packets, 3u) << "pages, their resend, the end of round";
}

TEST_P(DamageTest, AResendMayBeDamagedAndIsSentOnceMore) {
  const auto done = transfer({in_unit(5), in_resend(0), in_resend(1)});
  ASSERT_TRUE(done) << text_of(done);
  expect_repaired(wire::k_max_resends);
}

TEST_P(DamageTest, DamageThatComesAgainInEachResendIsAnIntegrityError) {
  const auto done = transfer({in_unit(5), in_resend(0), in_resend(1), in_resend(2)});
  ASSERT_EQ(code_of(done), Errc::integrity);
  EXPECT_EQ(text_of(done),
            "receive 'ram0' at offset 0x5000: its checksum still differs after 3 resends");
  EXPECT_EQ(transfer_->sender().totals().resent_units, wire::k_max_resends);
}

TEST_P(DamageTest, AFlippedBitInAHeaderIsAnIntegrityErrorAndNothingIsPlaced) {
  for (const std::uint64_t at : {8, 16, 20, 26, 40, 44, 48, 56, 64, 79, 80, 207}) {
    const auto done = transfer({at});
    EXPECT_EQ(code_of(done), Errc::integrity) << "byte " << at << ": " << text_of(done);
    EXPECT_EQ(destination_.read(units(0, 16)), Bytes(k_bytes)) << "byte " << at;
    EXPECT_EQ(transfer_->receiver().units_received(), 0u);
  }
}

TEST_P(DamageTest, AnEndOfRoundThatIsDamagedIsAnIntegrityErrorToo) {
  const auto done = transfer({k_header_bytes + k_bytes + 20});
  EXPECT_EQ(code_of(done), Errc::integrity);
}

TEST(Damage, OfMemoryThatMayBeChangingIsASuspectThatComesAgain) {
  TestMemory source(Reach::mapping, {k_bytes});
  TestMemory destination(Reach::mapping, {k_bytes});
  paint(source, Picture::noise, 3);
  Transfer transfer(source.memory(), destination.memory(),
                    {.motion = Motion::running, .flips = {in_unit(5)}});
  const auto suspects = transfer.round(source.runs());
  ASSERT_TRUE(suspects) << text_of(suspects);
  EXPECT_EQ(*suspects, std::vector{units(5, 1)});
  EXPECT_FALSE(transfer.receiver().complete());
  const auto none = transfer.round(*suspects);
  ASSERT_TRUE(none) << text_of(none);
  EXPECT_TRUE(none->empty());
  EXPECT_TRUE(transfer.receiver().complete());
  EXPECT_TRUE(same_bytes(destination.content(), source.content()));
  EXPECT_EQ(transfer.sender().totals().resent_units, 0u);
}

TEST(Damage, IsRepairedOnEachOfManyLanes) {
  // A lane's first packet is a whole one, whichever pages it takes: its payload is hit.
  constexpr std::uint64_t k_big = 8 * 1024 * 1024;
  constexpr std::uint64_t k_big_header = 48 + 32 + 256 * 8;
  TestMemory source(Reach::mapping, {k_big});
  TestMemory destination(Reach::mapping, {k_big});
  paint(source, Picture::noise, 2);
  Transfer transfer(source.memory(), destination.memory(),
                    {.lanes = 5, .flips = {k_big_header + 77, k_big_header + 100'000}});
  const auto done = transfer.round(source.runs());
  ASSERT_TRUE(done) << text_of(done);
  EXPECT_TRUE(same_bytes(destination.content(), source.content()));
  EXPECT_GE(transfer.sender().totals().resent_units, 2u);
  EXPECT_EQ(transfer.sender().totals().resent_units, transfer.receiver().totals().resent_units);
  ASSERT_TRUE(transfer.receiver().freeze());
  EXPECT_EQ(transfer.receiver().transcript(), transfer.sender().transcript());
}

}  // namespace
}  // namespace ferry::test
