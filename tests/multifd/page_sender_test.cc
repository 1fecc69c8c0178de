// What a sender says on its lanes, and what it lets a receiver ask of it. Its receiver is the test.
#include "multifd/page_sender.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <thread>

#include "channels/buffer.h"
#include "tests/channels/io.h"
#include "tests/multifd/asleep.h"
#include "tests/multifd/test_memory.h"

namespace ferry::test {
namespace {

/// A packet as it came from a lane.
struct Packet {
  wire::PacketHeader header;
  Bytes payload;

  bool has(std::uint32_t flags) const { return (header.flags & flags) == flags; }
};

/// A sender, and the far ends of its lanes.
class ReadSender {
 public:
  explicit ReadSender(const GuestMemory& memory, unsigned lanes = 1, std::size_t room = 1 << 20)
      : sender_(memory, {}, {.failed = [this](Error error) { failures_.push(std::move(error)); }}) {
    for (unsigned lane = 0; lane < lanes; ++lane) {
      auto [ours, theirs] = make_buffer_pair(room);
      links_.push_back(std::make_unique<Link>(std::move(ours), liveness_));
      ends_.push_back(std::make_unique<Link>(std::move(theirs), liveness_));
      EXPECT_TRUE(sender_.add_lane(*links_.back()));
    }
  }
  ~ReadSender() {
    sender_.close();
    cancel(Errc::cancelled);
  }

  /// The next packet of a lane. Blocks.
  Packet read(unsigned lane = 0) {
    const auto message = ends_[lane]->next();
    if (!message || !*message) {
      ADD_FAILURE() << text_of(message);
      return {};
    }
    Packet packet{wire::decode_packet((*message)->bytes).value().header, {}};
    packet.payload.resize(packet.header.payload_bytes);
    const iovec piece{packet.payload.data(), packet.payload.size()};
    EXPECT_TRUE(ends_[lane]->read_payload({&piece, 1}));
    return packet;
  }
  /// Reads a lane up to the end of the round, and returns how much payload came before it.
  std::uint64_t read_round(unsigned lane) {
    std::uint64_t bytes = 0;
    while (true) {
      const Packet packet = read(lane);
      if (packet.has(wire::k_end_round) || ::testing::Test::HasFailure()) return bytes;
      bytes += packet.payload.size();
    }
  }

  /// Sends unit 0 as a packet of its own, and reads it.
  void send_a_page() {
    EXPECT_TRUE(sender_.submit(units(0, 1), Content::data));
    EXPECT_EQ(read().header.runs.size(), 1u);
  }

  void cancel(Errc why) {
    for (const auto& link : links_) link->cancel(why);
  }
  void cut(unsigned lane) { ends_[lane].reset(); }
  Error failure() { return failures_.pop().value(); }
  bool failed() { return failures_.try_pop().has_value(); }
  PageSender& sender() { return sender_; }

 private:
  Liveness liveness_;
  BoundedQueue<Error> failures_{8};
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<std::unique_ptr<Link>> ends_;
  PageSender sender_;
};

class PageSenderTest : public ::testing::Test {
 protected:
  PageSenderTest() { paint(memory_, Picture::noise, 1); }
  Bytes page(std::uint64_t unit) const { return memory_.read(units(unit, 1)); }

  TestMemory memory_{Reach::mapping, {64 * k_unit_bytes + 9}};
};

TEST_F(PageSenderTest, EndsEachRoundOnEveryLane) {
  ReadSender sending(memory_.memory(), 3);
  for (std::uint32_t round = 0; round < 3; ++round) {
    sending.sender().begin_round(round, Motion::still);
    ASSERT_TRUE(sending.sender().end_round());
    for (unsigned lane = 0; lane < 3; ++lane) {
      const Packet end = sending.read(lane);
      EXPECT_EQ(end.header.flags, wire::k_end_round);
      EXPECT_EQ(end.header.round, round);
      EXPECT_EQ(end.header.sequence, round);
    }
  }
  EXPECT_EQ(sending.sender().transcript().lanes.size(), 3u);
}

TEST_F(PageSenderTest, SendsAgainOnTheLaneOfTheOriginalWhatThePageHoldsNow) {
  ReadSender sending(memory_.memory(), 2);
  ASSERT_TRUE(sending.sender().submit(units(3, 1), Content::data));
  ASSERT_TRUE(sending.sender().end_round());
  // One of the two has it; the other has nothing but an end of round.
  const Packet first[] = {sending.read(0), sending.read(1)};
  const std::uint16_t lane = first[0].has(wire::k_end_round) ? 1 : 0;
  EXPECT_EQ(first[lane].payload, page(3));
  EXPECT_TRUE(sending.read(lane).has(wire::k_end_round));

  memory_.write(0, 3 * k_unit_bytes, noise_bytes(k_unit_bytes, 99));
  const wire::Nak nak{.lane = lane, .sequence = 0, .runs = {units(3, 1)}};
  ASSERT_TRUE(sending.sender().resend(nak));
  const Packet again = sending.read(lane);
  EXPECT_EQ(again.header.flags, wire::k_stable | wire::k_resend);
  EXPECT_EQ(again.header.sequence, 2u) << "it is a packet of the lane like any other";
  EXPECT_EQ(again.payload, page(3));
  EXPECT_EQ(sending.sender().totals().resent_units, 1u);
}

TEST_F(PageSenderTest, SendsAgainOnlyWhatIsAskedFor) {
  ReadSender sending(memory_.memory());
  ASSERT_TRUE(sending.sender().submit({0, 0, 64 * k_unit_bytes + 9}, Content::data));
  sending.read();
  const std::vector<PageRun> wanted = {units(1, 2), units(9, 1), {0, 64 * k_unit_bytes, 9}};
  ASSERT_TRUE(sending.sender().resend({.lane = 0, .sequence = 0, .runs = wanted}));
  Packet packet = sending.read();
  while (!packet.has(wire::k_resend)) packet = sending.read();
  std::vector<PageRun> sent;
  for (const wire::WireRun& run : packet.header.runs) sent.push_back(run.run);
  EXPECT_EQ(sent, wanted);
}

TEST_F(PageSenderTest, GivesTheWorkToALaneThatIsFree) {
  constexpr std::uint64_t k_items = 8;
  constexpr std::uint64_t k_item_bytes = 1024 * 1024;
  TestMemory memory(Reach::mapping, {k_items * k_item_bytes});
  paint(memory, Picture::noise, 2);
  ReadSender sending(memory.memory(), 2, 64 * 1024);
  ASSERT_TRUE(sending.sender().submit({0, 0, k_items * k_item_bytes}, Content::data));
  std::jthread ender([&] { EXPECT_TRUE(sending.sender().end_round()); });
  // Nobody reads lane 0, which can hold one item and no more.
  const std::uint64_t of_lane_1 = sending.read_round(1);
  const std::uint64_t of_lane_0 = sending.read_round(0);
  EXPECT_EQ(of_lane_0 + of_lane_1, k_items * k_item_bytes);
  EXPECT_LE(of_lane_0, k_item_bytes);
}

TEST_F(PageSenderTest, BeginsWithALittleSoThatASlowLineIsSeenToMove) {
  ReadSender sending(memory_.memory());
  ASSERT_TRUE(sending.sender().submit(units(0, 64), Content::data));
  EXPECT_EQ(sending.read().payload.size(), 64u * 1024);
}

TEST_F(PageSenderTest, SaysLiveOfTheMemoryOfARunningGuest) {
  ReadSender sending(memory_.memory());
  sending.sender().begin_round(0, Motion::running);
  ASSERT_TRUE(sending.sender().submit(units(0, 1), Content::data));
  EXPECT_EQ(sending.read().header.flags, wire::k_live);
  ASSERT_TRUE(sending.sender().submit(units(1, 1), Content::zeros));
  EXPECT_EQ(sending.read().header.flags, wire::k_stable) << "nothing of it can change on the way";
  ASSERT_TRUE(sending.sender().end_round());
  EXPECT_EQ(sending.read().header.flags, wire::k_end_round);

  sending.sender().begin_round(1, Motion::still);
  ASSERT_TRUE(sending.sender().submit(units(0, 1), Content::data));
  EXPECT_EQ(sending.read().header.flags, wire::k_stable);
}

TEST(PageSender, SaysStableOfWhatItReadsFromADescriptor) {
  TestMemory memory(Reach::descriptor, {k_unit_bytes});
  paint(memory, Picture::noise, 1);
  ReadSender sending(memory.memory());
  sending.sender().begin_round(0, Motion::running);
  ASSERT_TRUE(sending.sender().submit(units(0, 1), Content::data));
  EXPECT_EQ(sending.read().header.flags, wire::k_stable);
  EXPECT_TRUE(sending.sender().resend({.sequence = 0, .runs = {units(0, 1)}}));
}

// What a receiver may not ask for.

TEST_F(PageSenderTest, RefusesANakForWhatWasLive) {
  ReadSender sending(memory_.memory());
  sending.sender().begin_round(0, Motion::running);
  sending.send_a_page();
  const auto refused = sending.sender().resend({.sequence = 0, .runs = {units(0, 1)}});
  EXPECT_EQ(code_of(refused), Errc::protocol);
  EXPECT_EQ(text_of(refused), "NAK of packet 0 on channel 0: it was LIVE");
}

TEST_F(PageSenderTest, RefusesANakForALaneThatThereIsNot) {
  ReadSender sending(memory_.memory());
  sending.send_a_page();
  const auto refused = sending.sender().resend({.lane = 1, .sequence = 0, .runs = {units(0, 1)}});
  EXPECT_EQ(code_of(refused), Errc::protocol);
  EXPECT_EQ(text_of(refused), "NAK for channel 1: there is no such channel");
}

TEST_F(PageSenderTest, RefusesANakForAPacketThatWasNotSent) {
  ReadSender sending(memory_.memory());
  EXPECT_EQ(code_of(sending.sender().resend({.sequence = 0, .runs = {units(0, 1)}})),
            Errc::protocol);
  sending.send_a_page();
  for (const std::uint64_t sequence : {std::uint64_t{1}, UINT64_MAX}) {
    EXPECT_EQ(code_of(sending.sender().resend({.sequence = sequence, .runs = {units(0, 1)}})),
              Errc::protocol);
  }
}

TEST_F(PageSenderTest, RefusesANakThatComesTwiceOrLate) {
  ReadSender sending(memory_.memory());
  sending.send_a_page();
  sending.send_a_page();
  ASSERT_TRUE(sending.sender().resend({.sequence = 1, .runs = {units(0, 1)}}));
  EXPECT_EQ(code_of(sending.sender().resend({.sequence = 1, .runs = {units(0, 1)}})),
            Errc::protocol);
  EXPECT_EQ(code_of(sending.sender().resend({.sequence = 0, .runs = {units(0, 1)}})),
            Errc::protocol);
}

TEST_F(PageSenderTest, RefusesANakOfARoundThatWasAcknowledged) {
  ReadSender sending(memory_.memory());
  sending.send_a_page();
  ASSERT_TRUE(sending.sender().end_round());
  EXPECT_TRUE(sending.read().has(wire::k_end_round));
  sending.sender().begin_round(1, Motion::still);
  EXPECT_EQ(code_of(sending.sender().resend({.sequence = 0, .runs = {units(0, 1)}})),
            Errc::protocol);
}

TEST_F(PageSenderTest, RefusesRunsOutsideTheMemory) {
  ReadSender sending(memory_.memory());
  sending.send_a_page();
  const wire::LaneTranscript before = sending.sender().transcript().lanes[0];
  const PageRun outside[] = {units(65, 1), units(64, 1), units(0, 1, 1),
                             units(0, 66), {0, 0, 5},    {0, 5, 9}};
  for (const PageRun& run : outside) {
    EXPECT_EQ(code_of(sending.sender().resend({.sequence = 0, .runs = {units(0, 1), run}})),
              Errc::protocol);
  }
  EXPECT_EQ(sending.sender().transcript().lanes[0], before) << "what is refused is not recorded";
}

TEST_F(PageSenderTest, GivesUpOnAPageThatIsRefusedInEveryResend) {
  ReadSender sending(memory_.memory());
  sending.send_a_page();
  for (std::uint64_t resend = 0; resend < wire::k_max_resends; ++resend) {
    ASSERT_TRUE(sending.sender().resend({.sequence = resend, .runs = {units(0, 1)}}));
    EXPECT_TRUE(sending.read().has(wire::k_resend));
  }
  const auto refused =
      sending.sender().resend({.sequence = wire::k_max_resends, .runs = {units(0, 1)}});
  EXPECT_EQ(code_of(refused), Errc::integrity);
  EXPECT_EQ(text_of(refused), "channel 0: damaged on the way, and again in 3 resends");
}

TEST_F(PageSenderTest, RefusesANakOfMoreThanALaneMayHaveOutstanding) {
  constexpr std::uint64_t k_units = wire::k_max_damaged_runs + 1;
  TestMemory memory(Reach::mapping, {k_units * k_unit_bytes});
  ReadSender sending(memory.memory());
  sending.send_a_page();
  EXPECT_EQ(code_of(sending.sender().resend({.sequence = 0, .runs = {units(0, k_units)}})),
            Errc::integrity);
  const std::vector<PageRun> everything_often(wire::k_max_runs, units(0, k_units - 1));
  EXPECT_EQ(code_of(sending.sender().resend({.sequence = 0, .runs = everything_often})),
            Errc::integrity);
}

TEST_F(PageSenderTest, RefusesAFloodOfNaksThatItCannotAnswer) {
  // The lane is stuck in a write, and orders pile up behind it.
  constexpr std::uint64_t k_units = 512;
  TestMemory memory(Reach::mapping, {k_units * k_unit_bytes});
  paint(memory, Picture::noise, 3);
  ReadSender sending(memory.memory());
  for (int i = 0; i < 64; ++i) sending.send_a_page();
  ASSERT_TRUE(sending.sender().submit(units(0, k_units), Content::data));  // more than fits
  std::uint64_t granted = 0;
  std::optional<Errc> refused;
  for (std::uint64_t sequence = 0; sequence < 64 && !refused; ++sequence) {
    refused = code_of(sending.sender().resend({.sequence = sequence, .runs = {units(0, k_units)}}));
    if (!refused) granted += k_units;
  }
  EXPECT_EQ(refused, Errc::integrity);
  EXPECT_GE(granted, wire::k_max_damaged_runs) << "an honest receiver may have so much damage";
}

// Endings.

TEST_F(PageSenderTest, CancelWakesALaneThatWrites) {
  ReadSender sending(memory_.memory(), 1, 10);
  ASSERT_TRUE(sending.sender().submit(units(0, 8), Content::data));
  wait_until_asleep("ferry-send-0");
  sending.cancel(Errc::timed_out);
  EXPECT_EQ(sending.failure().code, Errc::timed_out);
}

TEST_F(PageSenderTest, SaysThatAReceiverIsGone) {
  ReadSender sending(memory_.memory());
  sending.cut(0);
  ASSERT_TRUE(sending.sender().submit(units(0, 1), Content::data));
  EXPECT_EQ(sending.failure().code, Errc::disconnected);
}

TEST_F(PageSenderTest, SaysThatMemoryCannotBeRead) {
  TestMemory memory(Reach::descriptor, {8 * k_unit_bytes});
  ASSERT_EQ(::ftruncate(memory.memory().regions()[0].fd, 0), 0);
  ReadSender sending(memory.memory());
  ASSERT_TRUE(sending.sender().submit(units(0, 8), Content::data));
  EXPECT_EQ(sending.failure().code, Errc::system);
}

TEST_F(PageSenderTest, CloseEndsALaneThatWaitsForWork) {
  ReadSender sending(memory_.memory(), 2);
  wait_until_asleep("ferry-send-0");
  wait_until_asleep("ferry-send-1");
  sending.sender().close();
  EXPECT_FALSE(sending.sender().submit(units(0, 1), Content::data));
  EXPECT_FALSE(sending.sender().end_round());
}

TEST_F(PageSenderTest, CloseWakesWhoeverSubmits) {
  ReadSender sending(memory_.memory(), 1, 10);  // a lane that is stuck in its first packet
  ASSERT_TRUE(sending.sender().submit(units(0, 8), Content::data));
  BlockedThread submitter([&] {
    while (sending.sender().submit(units(0, 1), Content::zeros)) {
    }
  });
  submitter.wait_until_asleep();
  sending.sender().close();
  submitter.join();
}

TEST_F(PageSenderTest, CloseWakesWhoeverEndsARound) {
  ReadSender sending(memory_.memory(), 1, 10);
  ASSERT_TRUE(sending.sender().submit(units(0, 8), Content::data));
  wait_until_asleep("ferry-send-0");  // in a write that nobody reads
  ASSERT_TRUE(sending.sender().submit(units(8, 8), Content::data));
  bool ended = true;
  BlockedThread ender([&] { ended = sending.sender().end_round(); });
  ender.wait_until_asleep();
  sending.sender().close();
  ender.join();
  EXPECT_FALSE(ended);
}

TEST_F(PageSenderTest, EndsItsLanesWhenItIsDestroyed) {
  Liveness liveness;
  auto [ours, theirs] = make_buffer_pair();
  Link link(std::move(ours), liveness);
  {
    PageSender sender(memory_.memory(), {}, {.failed = [](const Error&) { ADD_FAILURE(); }});
    ASSERT_TRUE(sender.add_lane(link));
    wait_until_asleep("ferry-send-0");
  }
  ASSERT_TRUE(link.finish()) << "the link is its owner's, and as good as before";
  EXPECT_EQ(read_once(*theirs), "");
}

}  // namespace
}  // namespace ferry::test
