// Sources that lie: each gets an error, and memory stays what it was.
#include <gtest/gtest.h>

#include "multifd/page_receiver.h"
#include "tests/multifd/receiving_memory.h"

namespace ferry::test {
namespace {

class HostileSourceTest : public ReceivingMemory {
 protected:
  /// The lane fails with this code, and memory is as it was.
  void expect_refused(const Bytes& bytes, Errc code) {
    const auto before = memory_.content();
    FedReceiver fed(memory_.memory());
    fed.send_bytes(bytes);
    ASSERT_TRUE(fed.lane(0).finish());  // a receiver that wants more says so
    const Error error = fed.failure();
    EXPECT_EQ(error.code, code) << error.text();
    EXPECT_TRUE(same_bytes(memory_.content(), before));
  }
  void expect_refused(const CraftedPacket& packet, Errc code) {
    expect_refused(packet.bytes(), code);
  }
};

INSTANTIATE_TEST_SUITE_P(Both, HostileSourceTest, k_both_reaches, name_of_reach);

TEST_P(HostileSourceTest, RefusesASequenceWithAGap) {
  expect_refused(CraftedPacket(1).data(units(0, 1), noise(1)), Errc::protocol);
}

TEST_P(HostileSourceTest, RefusesASequenceTwice) {
  FedReceiver fed(memory_.memory());
  fed.send(CraftedPacket(0).data(units(0, 1), noise(1)));
  fed.send(CraftedPacket(0).data(units(1, 1), noise(1)));
  const Error error = fed.failure();
  EXPECT_EQ(error.code, Errc::protocol);
  EXPECT_EQ(error.text(), "packet 0 on channel 0: expected sequence 1");
  EXPECT_EQ(memory_.read(units(1, 1)), Bytes(k_unit_bytes));
}

TEST_P(HostileSourceTest, RefusesAPacketOfAnotherRound) {
  expect_refused(CraftedPacket(0, 1).data(units(0, 1), noise(1)), Errc::protocol);
  expect_refused(CraftedPacket(0, UINT32_MAX).zeros(units(0, 1)), Errc::protocol);
}

TEST_P(HostileSourceTest, RefusesRunsOutsideTheMemoryAndPlacesNothingOfTheirPacket) {
  const PageRun outside[] = {
      units(17, 1),        units(16, 1),      units(0, 17),   units(0, 18),
      units(0, 1, 2),      units(0, 1, 1023), units(4, 1, 1), {0, 16 * k_unit_bytes, k_tail - 1},
      units(1ull << 31, 1)};
  for (const PageRun& run : outside) {
    const Bytes bytes = noise_bytes(run.length, 3);
    expect_refused(CraftedPacket(0).data(units(0, 1), noise(1)).data(run, bytes), Errc::protocol);
    expect_refused(CraftedPacket(0).data(units(0, 1), noise(1)).zeros(run), Errc::protocol);
  }
}

TEST_P(HostileSourceTest, RefusesZeroRunsOfEveryLengthThatIsNotThere) {
  memory_.write(0, 0, k_noise);
  expect_refused(CraftedPacket(0).zeros({0, 0, wire::k_max_memory_bytes}), Errc::protocol);
  expect_refused(CraftedPacket(0).zeros({0, 0, k_lengths[0] + 1}), Errc::protocol);
}

TEST_P(HostileSourceTest, RefusesADamagedHeaderAndPlacesNothing) {
  const Bytes packet = CraftedPacket(0).data(units(0, 2), noise(2)).zeros(units(2, 1)).bytes();
  const std::size_t header =
      CraftedPacket(0).data(units(0, 2), noise(2)).zeros(units(2, 1)).header_bytes().size();
  for (std::size_t at = wire::k_prologue_bytes; at < header; ++at) {
    Bytes damaged = packet;
    damaged[at] ^= std::byte{0x10};
    expect_refused(damaged, Errc::integrity);
  }
}

TEST_P(HostileSourceTest, RefusesAControlFrameOnAPageChannel) {
  expect_refused(wire::encode(wire::RoundAck{.round = 0}), Errc::protocol);
}

TEST_P(HostileSourceTest, RefusesAMessageOfNoKind) {
  expect_refused(noise_bytes(100, 5), Errc::protocol);
}

TEST_P(HostileSourceTest, SaysThatAPacketWasCutShort) {
  const Bytes packet = CraftedPacket(0).data(units(0, 2), noise(2)).bytes();
  for (const std::size_t length : {std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{60},
                                   packet.size() - 2 * k_unit_bytes, packet.size() - 1}) {
    FedReceiver fed(memory_.memory());
    fed.send_bytes(std::span(packet).first(length));
    ASSERT_TRUE(fed.lane(0).finish());
    EXPECT_EQ(fed.failure().code, Errc::disconnected) << length << " bytes";
    EXPECT_EQ(fed.receiver().units_received(), 0u);
  }
}

TEST_P(HostileSourceTest, RefusesPagesAfterTheEndOfTheirRound) {
  for (const std::uint32_t flags : {+wire::k_stable, +wire::k_live}) {
    FedReceiver fed(memory_.memory());
    fed.send(CraftedPacket(0).data(units(0, 1), noise(1)).damage(0));
    fed.send(end_of_round(1));
    fed.send(CraftedPacket(2, 0, flags).data(units(1, 1), noise(1)));
    const Error error = fed.failure();
    EXPECT_EQ(error.code, Errc::protocol);
    EXPECT_EQ(error.text(), "packet 2 on channel 0: the round has ended on this channel");
    EXPECT_EQ(memory_.read(units(1, 1)), Bytes(k_unit_bytes));
  }
}

TEST_P(HostileSourceTest, RefusesASecondEndOfOneRound) {
  {
    FedReceiver fed(memory_.memory());  // while damage holds the round open
    fed.send(CraftedPacket(0).data(units(0, 1), noise(1)).damage(0));
    fed.send(end_of_round(1));
    fed.send(end_of_round(2));
    EXPECT_EQ(fed.failure().code, Errc::protocol);
  }
  FedReceiver fed(memory_.memory());  // and when it is over
  fed.send(end_of_round(0));
  fed.send(end_of_round(1));
  const Error error = fed.failure();
  EXPECT_EQ(error.code, Errc::protocol);
  EXPECT_EQ(error.text(), "a packet of round 0 in round 1");
}

}  // namespace
}  // namespace ferry::test
