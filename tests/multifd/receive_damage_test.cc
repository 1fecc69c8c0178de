// Pages that were changed on their way: damage, which is sent again, and suspects, which are told.
#include <gtest/gtest.h>

#include "multifd/page_receiver.h"
#include "tests/multifd/receiving_memory.h"

namespace ferry::test {
namespace {

struct Way {
  Reach reach;
  Carried carried;
};

class ReceiveDamageTest : public ::testing::TestWithParam<Way> {
 protected:
  TestMemory memory_{GetParam().reach, k_lengths};
};

INSTANTIATE_TEST_SUITE_P(All, ReceiveDamageTest,
                         ::testing::Values(Way{Reach::mapping, Carried::streamed},
                                           Way{Reach::descriptor, Carried::streamed},
                                           Way{Reach::mapping, Carried::placed}),
                         [](const auto& instance) {
                           if (instance.param.carried == Carried::placed) return "Placed";
                           return instance.param.reach == Reach::mapping ? "Mapped" : "Descriptor";
                         });

TEST_P(ReceiveDamageTest, AsksAgainForTheUnitsThatAreDamagedAndForNoOthers) {
  FedReceiver fed(memory_.memory(), 1, GetParam().carried);
  wire::LaneTranscript lane;
  fed.send(CraftedPacket(0)
               .data(units(0, 6), noise(6))
               .data(units(8, 1), noise(1))
               .damage(1)
               .damage(2)
               .damage(5)
               .damage(6))
      .record(lane);
  const wire::Nak nak{.lane = 0, .sequence = 0, .runs = {units(1, 2), units(5, 1), units(8, 1)}};
  EXPECT_EQ(fed.answer(), wire::ControlFrame(nak));
  record_verdict(lane, nak);
  EXPECT_EQ(memory_.read(units(0, 1)), copy_of(noise(1)));
  EXPECT_EQ(fed.receiver().bytes_verified(), 3 * k_unit_bytes);

  // The end of the round waits for all of it, in however many packets it comes.
  const auto resend = wire::k_stable | wire::k_resend;
  fed.send(end_of_round(1)).record(lane);
  fed.send(CraftedPacket(2, 0, resend).data(units(1, 2), noise(2)).data(units(5, 1), noise(1)))
      .record(lane);
  fed.send(CraftedPacket(3, 0, resend).data(units(8, 1), noise(1))).record(lane);
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));

  EXPECT_EQ(memory_.read(units(1, 2)), copy_of(noise(2)));
  EXPECT_EQ(memory_.read(units(8, 1)), copy_of(noise(1)));
  EXPECT_EQ(fed.receiver().totals().resent_units, 4u);
  ASSERT_TRUE(fed.receiver().freeze());
  EXPECT_EQ(fed.receiver().transcript(), wire::Transcript{{lane}});
  EXPECT_EQ(fed.receiver().units_received(), 7u);
}

TEST_P(ReceiveDamageTest, ADamagedPageThatIsSentAgainAsZerosReadsAsZeros) {
  FedReceiver fed(memory_.memory(), 1, GetParam().carried);
  fed.send(CraftedPacket(0).data(units(0, 3), noise(3)).damage(1));
  EXPECT_TRUE(std::holds_alternative<wire::Nak>(fed.answer()));
  fed.send(CraftedPacket(1, 0, wire::k_stable | wire::k_resend).zeros(units(1, 1)));
  fed.send(end_of_round(2));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));
  EXPECT_EQ(memory_.read(units(1, 1)), Bytes(k_unit_bytes));
  EXPECT_EQ(memory_.read(units(0, 1)), copy_of(noise(1)));
}

TEST_P(ReceiveDamageTest, GivesUpOnAPageThatIsDamagedInEveryResend) {
  FedReceiver fed(memory_.memory(), 1, GetParam().carried);
  fed.send(CraftedPacket(0).data(units(0, 1), noise(1)).damage(0));
  for (std::uint64_t resend = 1; resend <= wire::k_max_resends; ++resend) {
    fed.send(CraftedPacket(resend, 0, wire::k_stable | wire::k_resend)
                 .data(units(0, 1), noise(1))
                 .damage(0));
    EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::Nak{
                                .lane = 0, .sequence = resend - 1, .runs = {units(0, 1)}}));
  }
  const Error error = fed.failure();
  EXPECT_EQ(error.code, Errc::integrity);
  EXPECT_EQ(error.text(),
            "receive 'ram0' at offset 0x0: its checksum still differs after 3 resends");
}

TEST_P(ReceiveDamageTest, RefusesADamagedResendOfWhatWasNotDamaged) {
  FedReceiver fed(memory_.memory(), 1, GetParam().carried);
  fed.send(
      CraftedPacket(0, 0, wire::k_stable | wire::k_resend).data(units(0, 1), noise(1)).damage(0));
  EXPECT_EQ(fed.failure().code, Errc::integrity);
}

TEST(ReceiveDamage, CanRefuseEveryUnitOfAPacketThatLiesAllOver) {
  // As many runs as a packet has, and in the first of them every other unit is damaged, so that
  // there are more damaged runs than there were runs.
  std::vector<std::uint64_t> lengths(wire::k_max_regions, 1);
  lengths[0] = 255 * k_unit_bytes;
  TestMemory memory(Reach::mapping, lengths);
  CraftedPacket packet(0);
  packet.data(units(0, 255), Bytes(255 * k_unit_bytes));
  std::vector<PageRun> damaged;
  for (std::size_t unit = 0; unit < 255; unit += 2) {
    packet.damage(unit);
    damaged.push_back(units(unit, 1));
  }
  for (RegionId region = 1; region < wire::k_max_regions; ++region) {
    packet.data({region, 0, 1}, Bytes(1)).damage(254 + region);
    damaged.push_back({region, 0, 1});
  }
  FedReceiver fed(memory.memory());
  fed.send(packet);
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::Nak{.runs = damaged}));
}

TEST(ReceiveDamage, BoundsTheDamageThatIsOutstandingOnALane) {
  constexpr std::uint64_t k_units_a_packet = 128;
  TestMemory memory(Reach::mapping, {(wire::k_max_damaged_runs + 1) * k_unit_bytes});
  const Bytes bytes(k_units_a_packet * k_unit_bytes);
  FedReceiver fed(memory.memory());
  std::uint64_t sequence = 0;
  for (std::uint64_t unit = 0; unit < wire::k_max_damaged_runs; unit += k_units_a_packet) {
    CraftedPacket packet(sequence++);
    packet.data(units(unit, k_units_a_packet), bytes);
    for (std::size_t i = 0; i < k_units_a_packet; ++i) packet.damage(i);
    fed.send(packet);
    EXPECT_TRUE(std::holds_alternative<wire::Nak>(fed.answer())) << "as many as that are allowed";
  }
  fed.send(CraftedPacket(sequence)
               .data(units(wire::k_max_damaged_runs, 1), Bytes(k_unit_bytes))
               .damage(0));
  EXPECT_EQ(fed.failure().code, Errc::integrity);
}

// Suspects.

TEST_P(ReceiveDamageTest, ReportsPagesThatChangedOnTheWayBeforeTheRoundIsAcknowledged) {
  FedReceiver fed(memory_.memory(), 1, GetParam().carried);
  fed.send(CraftedPacket(0, 0, wire::k_live)
               .data(units(0, 16), k_noise)
               .data({0, 16 * k_unit_bytes, k_tail}, Bytes(k_tail))
               .damage(2)
               .damage(3)
               .damage(16));
  fed.send(CraftedPacket(1).zeros(units(0, 4, 1)));
  fed.send(end_of_round(2));
  EXPECT_EQ(fed.answer(),
            wire::ControlFrame(wire::Suspects{{units(2, 2), {0, 16 * k_unit_bytes, k_tail}}}));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));
  EXPECT_EQ(fed.receiver().totals().suspect_units, 3u);
  EXPECT_EQ(fed.receiver().totals().resent_units, 0u) << "a suspect is no damage";

  // A good copy clears one, zeros another, and what comes late again stays suspect.
  fed.send(CraftedPacket(3, 1).data(units(2, 1), noise(1)).zeros(units(3, 1)));
  fed.send(CraftedPacket(4, 1, wire::k_live)
               .data({0, 16 * k_unit_bytes, k_tail}, Bytes(k_tail))
               .damage(0));
  fed.send(end_of_round(5, 1));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::Suspects{{{0, 16 * k_unit_bytes, k_tail}}}));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 1}));
  EXPECT_EQ(memory_.read(units(2, 1)), copy_of(noise(1)));
  EXPECT_EQ(memory_.read(units(3, 1)), Bytes(k_unit_bytes));

  fed.send(CraftedPacket(6, 2, wire::k_live).data({0, 16 * k_unit_bytes, k_tail}, Bytes(k_tail)));
  fed.send(end_of_round(7, 2));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 2}));
  ASSERT_TRUE(fed.receiver().freeze());
  EXPECT_TRUE(fed.receiver().complete());
}

TEST_P(ReceiveDamageTest, IsNotCompleteWhileAPageIsSuspect) {
  FedReceiver fed(memory_.memory(), 1, GetParam().carried);
  fed.send(CraftedPacket(0).zeros({0, 0, k_lengths[0]}).zeros({1, 0, k_lengths[1]}));
  fed.send(CraftedPacket(1, 0, wire::k_live).data(units(5, 1), noise(1)).damage(0));
  fed.send(end_of_round(2));
  EXPECT_TRUE(std::holds_alternative<wire::Suspects>(fed.answer()));
  EXPECT_TRUE(std::holds_alternative<wire::RoundAck>(fed.answer()));
  ASSERT_TRUE(fed.receiver().freeze());
  EXPECT_FALSE(fed.receiver().complete());
  EXPECT_EQ(fed.receiver().units_received(), 21u);
  EXPECT_EQ(fed.receiver().units_suspect(), 1u);
}

TEST(ReceiveDamage, ReportsManySuspectsInSeveralFrames) {
  constexpr std::uint64_t k_suspects = wire::k_max_runs + 1;
  TestMemory memory(Reach::mapping, {2 * k_suspects * k_unit_bytes});
  FedReceiver fed(memory.memory());
  const Bytes page(k_unit_bytes);
  std::uint64_t sequence = 0;
  for (std::uint64_t i = 0; i < k_suspects; ++i) {
    fed.send(CraftedPacket(sequence++, 0, wire::k_live).data(units(2 * i, 1), page).damage(0));
  }
  fed.send(end_of_round(sequence));
  std::vector<PageRun> told;
  for (int frame = 0; frame < 2; ++frame) {
    const auto suspects = std::get<wire::Suspects>(fed.answer());
    told.insert(told.end(), suspects.runs.begin(), suspects.runs.end());
  }
  ASSERT_EQ(told.size(), k_suspects);
  for (std::uint64_t i = 0; i < k_suspects; ++i) EXPECT_EQ(told[i], units(2 * i, 1));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));
}

}  // namespace
}  // namespace ferry::test
