#include "multifd/page_receiver.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <functional>
#include <string>

#include "tests/multifd/asleep.h"
#include "tests/multifd/receiving_memory.h"

namespace ferry::test {
namespace {

/// A channel that tells the test of every write, after it.
class HookedChannel final : public Channel {
 public:
  HookedChannel(std::unique_ptr<Channel> inner, std::function<void()> written)
      : inner_(std::move(inner)), written_(std::move(written)) {}
  Result<std::size_t> read_some(std::span<const iovec> into) override {
    return inner_->read_some(into);
  }
  Result<void> write(std::span<const iovec> from, Loan loan) override {
    auto done = inner_->write(from, loan);
    written_();
    return done;
  }
  Result<void> flush() override { return inner_->flush(); }
  Result<void> finish() override { return inner_->finish(); }
  void cancel(Errc why) noexcept override { inner_->cancel(why); }
  const ChannelInfo& info() const noexcept override { return inner_->info(); }

 private:
  std::unique_ptr<Channel> inner_;
  std::function<void()> written_;
};

using PageReceiverTest = ReceivingMemory;
INSTANTIATE_TEST_SUITE_P(Both, PageReceiverTest, k_both_reaches, name_of_reach);

TEST_P(PageReceiverTest, PutsRunsWhereTheyBelong) {
  FedReceiver fed(memory_.memory());
  CraftedPacket packet(0);
  packet.data(units(3, 2), noise(2))
      .zeros(units(0, 3))
      .data({0, 16 * k_unit_bytes, k_tail}, std::span(k_noise).first(k_tail))
      .data(units(1, 1, 1), noise(1));
  wire::LaneTranscript lane;
  packet.record(lane);
  fed.send(packet);
  fed.send(end_of_round(1).record(lane));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));

  EXPECT_EQ(memory_.read(units(3, 2)), copy_of(noise(2)));
  EXPECT_EQ(memory_.read({0, 16 * k_unit_bytes, k_tail}),
            copy_of(std::span(k_noise).first(k_tail)));
  EXPECT_EQ(memory_.read(units(1, 1, 1)), copy_of(noise(1)));
  EXPECT_EQ(memory_.read(units(0, 3)), Bytes(3 * k_unit_bytes));

  ASSERT_TRUE(fed.receiver().freeze());
  EXPECT_EQ(fed.receiver().transcript(), wire::Transcript{{lane}});
  EXPECT_EQ(fed.receiver().units_received(), 7u);
  EXPECT_EQ(fed.receiver().bytes_verified(), 6 * k_unit_bytes + k_tail);
  EXPECT_FALSE(fed.receiver().complete());
}

// Rounds.

TEST_P(PageReceiverTest, NoLaneGoesPastTheEndOfARoundBeforeAllHaveIt) {
  FedReceiver fed(memory_.memory(), 3);
  // Lane 0 is a round ahead: were it to go on, its packet would be refused, or overwritten by what
  // the other lanes still have of the round before.
  fed.send(end_of_round(0), 0);
  fed.send(CraftedPacket(1, 1).data(units(0, 1), noise(1)), 0);
  wait_until_asleep("ferry-recv-0");
  fed.send(end_of_round(0), 1);
  wait_until_asleep("ferry-recv-1");
  fed.send(CraftedPacket(0).data(units(0, 2), Bytes(2 * k_unit_bytes, std::byte{7})), 2);
  fed.send(end_of_round(1), 2);
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));

  fed.send(end_of_round(2, 1), 0);
  fed.send(end_of_round(1, 1), 1);
  fed.send(end_of_round(2, 1), 2);
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 1}));
  EXPECT_EQ(memory_.read(units(0, 1)), copy_of(noise(1)));
  EXPECT_EQ(memory_.read(units(1, 1)), Bytes(k_unit_bytes, std::byte{7}));
  EXPECT_FALSE(fed.failed());
}

TEST_P(PageReceiverTest, CanBeFrozenTheMomentTheRoundIsAcknowledged) {
  // The source may answer an acknowledgement before the call that sends it has returned here.
  std::function<void()> acknowledged = [] {};
  auto [ours, theirs] = make_buffer_pair();
  FedReceiver fed(memory_.memory(), 2,
                  {std::move(ours), std::make_unique<HookedChannel>(
                                        std::move(theirs), [&acknowledged] { acknowledged(); })});
  Result<void> frozen = fail(Errc::guest, "never tried");
  std::uint32_t rounds = 0;
  acknowledged = [&] {
    frozen = fed.receiver().freeze();
    rounds = fed.receiver().totals().rounds;
  };
  fed.send(end_of_round(0), 0);
  fed.send(end_of_round(0), 1);
  // The end of a lane's thread is also the end of its call.
  ASSERT_TRUE(fed.lane(0).finish());
  ASSERT_TRUE(fed.lane(1).finish());
  fed.receiver().join();
  EXPECT_TRUE(frozen) << text_of(frozen);
  EXPECT_EQ(rounds, 1u);
  EXPECT_FALSE(fed.failed());
}

TEST_P(PageReceiverTest, CannotBeFrozenInTheMiddleOfARound) {
  FedReceiver fed(memory_.memory(), 2);
  fed.send(end_of_round(0), 0);
  fed.send(end_of_round(0), 1);
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));
  fed.send(CraftedPacket(1, 1).data(units(0, 1), noise(1)).damage(0), 1);
  EXPECT_TRUE(std::holds_alternative<wire::Nak>(fed.answer()));
  EXPECT_EQ(code_of(fed.receiver().freeze()), Errc::protocol) << "a page is damaged";
}

TEST_P(PageReceiverTest, TakesNoPacketWhenItIsFrozen) {
  FedReceiver fed(memory_.memory());
  fed.send(end_of_round(0));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));
  ASSERT_TRUE(fed.receiver().freeze());
  const wire::Transcript before = fed.receiver().transcript();
  fed.send(CraftedPacket(1, 1).data(units(0, 1), noise(1)));
  const Error error = fed.failure();
  EXPECT_EQ(error.code, Errc::protocol);
  EXPECT_EQ(error.text(), "a packet after the last round");
  EXPECT_EQ(memory_.read(units(0, 1)), Bytes(k_unit_bytes));
  EXPECT_EQ(fed.receiver().transcript(), before);
}

TEST_P(PageReceiverTest, LetsLanesEndWhenItIsFrozen) {
  FedReceiver fed(memory_.memory(), 2);
  fed.send(end_of_round(0), 0);
  fed.send(end_of_round(0), 1);
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));
  ASSERT_TRUE(fed.receiver().freeze());
  ASSERT_TRUE(fed.lane(0).finish());
  ASSERT_TRUE(fed.lane(1).finish());
  fed.receiver().join();
  EXPECT_FALSE(fed.failed());
}

TEST_P(PageReceiverTest, MissesALaneThatEndsBeforeItsTime) {
  // A page channel that a box on the way closed: nobody writes to it any more, so that nobody else
  // would ever notice.
  FedReceiver fed(memory_.memory(), 2);
  ASSERT_TRUE(fed.lane(1).finish());
  const Error error = fed.failure();
  EXPECT_EQ(error.code, Errc::disconnected);
  EXPECT_EQ(error.text(), "channel 1: it ended before the last round did");
}

// Files that will not be written.

TEST(PageReceiver, SaysWhyTheDiskWouldNotTakeAPage) {
  const UniqueFd full(::open("/dev/full", O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(full);
  const GuestMemory memory = GuestMemory::create({{.name = "disk",
                                                   .length = 8 * k_unit_bytes,
                                                   .backing = Backing::file,
                                                   .fd = full.get()}})
                                 .value();
  FedReceiver fed(memory);
  fed.send(CraftedPacket(0).data(units(2, 1), noise(1)));
  const Error error = fed.failure();
  EXPECT_EQ(error.code, Errc::system);
  EXPECT_EQ(error.sys, ENOSPC);
  EXPECT_EQ(error.context, "write 'disk' at offset 0x2000");
  EXPECT_EQ(fed.receiver().bytes_verified(), 0u);
}

TEST(PageReceiver, SaysWhyAFileWouldNotBeCleared) {
  const UniqueFd file(::memfd_create("ferry-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(file.get(), k_unit_bytes), 0);
  const GuestMemory memory =
      GuestMemory::create({{.name = "disk", .length = k_unit_bytes, .fd = file.get()}}).value();
  FedReceiver fed(memory);
  fed.send(CraftedPacket(0).data(units(0, 1), noise(1)));
  fed.send(end_of_round(1));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));
  ASSERT_EQ(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  fed.send(CraftedPacket(2, 1).zeros(units(0, 1)));
  const Error error = fed.failure();
  EXPECT_EQ(error.code, Errc::system);
  EXPECT_EQ(error.sys, EPERM);
}

TEST(PageReceiver, ZerosOnFreshMemoryAreNotWritten) {
  const UniqueFd full(::open("/dev/full", O_RDWR | O_CLOEXEC));
  const GuestMemory memory =
      GuestMemory::create({{.name = "disk", .length = 8 * k_unit_bytes, .fd = full.get()}}).value();
  FedReceiver fed(memory);
  fed.send(CraftedPacket(0).zeros(units(0, 8)));
  fed.send(end_of_round(1));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));
  ASSERT_TRUE(fed.receiver().freeze());
  EXPECT_TRUE(fed.receiver().complete());
}

// Cancelling, and endings.

TEST_P(PageReceiverTest, CancelWakesALaneThatReads) {
  FedReceiver fed(memory_.memory());
  wait_until_asleep("ferry-recv-0");
  fed.receiver().cancel(Errc::timed_out);
  EXPECT_EQ(fed.failure().code, Errc::timed_out);
  fed.receiver().join();
}

TEST_P(PageReceiverTest, CancelWakesALaneThatReadsAPayload) {
  FedReceiver fed(memory_.memory());
  fed.send_bytes(CraftedPacket(0).data(units(0, 1), noise(1)).header_bytes());
  wait_until_asleep("ferry-recv-0");
  fed.receiver().cancel(Errc::timed_out);
  EXPECT_EQ(fed.failure().code, Errc::timed_out);
  fed.receiver().join();
}

TEST_P(PageReceiverTest, CancelWakesALaneThatWaitsForTheOthers) {
  FedReceiver fed(memory_.memory(), 2);
  fed.send(end_of_round(0), 0);
  wait_until_asleep("ferry-recv-0");
  fed.receiver().cancel(Errc::timed_out);
  EXPECT_EQ(fed.failure().code, Errc::timed_out);
  EXPECT_EQ(fed.failure().code, Errc::timed_out);
  fed.receiver().join();
}

TEST_P(PageReceiverTest, CancellingTheControlChannelWakesALaneThatSpeaksOnIt) {
  FedReceiver fed(memory_.memory(), 1, make_buffer_pair(1));  // nobody reads it
  fed.send(CraftedPacket(0).data(units(0, 1), noise(1)).damage(0));
  wait_until_asleep("ferry-recv-0");
  fed.receiver().cancel(Errc::timed_out);
  fed.control().cancel(Errc::timed_out);
  EXPECT_EQ(fed.failure().code, Errc::timed_out);
  fed.receiver().join();
}

TEST_P(PageReceiverTest, IgnoresALaneThatComesAfterTheCancel) {
  Liveness liveness;
  auto [control, answers] = make_buffer_pair();
  Link link(std::move(control), liveness);
  PageReceiver receiver(memory_.memory(), 1, link, [](const Error&) { ADD_FAILURE(); });
  receiver.cancel(Errc::cancelled);
  auto [ours, theirs] = make_buffer_pair();
  ASSERT_TRUE(receiver.add_lane(0, std::make_unique<Link>(std::move(theirs), liveness)));
  EXPECT_EQ(code_of(read_once(*ours)), Errc::disconnected) << "its channel is closed";
}

TEST_P(PageReceiverTest, KeepsTheFirstChannelOfALane) {
  FedReceiver fed(memory_.memory());
  Liveness liveness;
  auto [ours, theirs] = make_buffer_pair();
  ASSERT_TRUE(fed.receiver().add_lane(0, std::make_unique<Link>(std::move(theirs), liveness)));
  EXPECT_EQ(code_of(read_once(*ours)), Errc::disconnected);
  fed.send(end_of_round(0));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));
}

TEST_P(PageReceiverTest, EndsWhereItIsWhenItIsDestroyed) {
  FedReceiver fed(memory_.memory(), 4);
  fed.send(end_of_round(0), 0);                                                    // waits
  fed.send_bytes(CraftedPacket(0).data(units(0, 1), noise(1)).header_bytes(), 1);  // reads
  fed.send(CraftedPacket(0).data(units(0, 1), noise(1)).damage(0), 2);
  EXPECT_TRUE(std::holds_alternative<wire::Nak>(fed.answer()));
}

TEST_P(PageReceiverTest, TakesPacketsThatTheReaderOfASoloChannelHandsIt) {
  Liveness liveness;
  auto [ours, theirs] = make_buffer_pair(1024 * 1024);
  Link source(std::move(ours), liveness);
  Link solo(std::move(theirs), liveness);
  PageReceiver receiver(memory_.memory(), 1, solo, [](const Error&) { ADD_FAILURE(); });
  for (const CraftedPacket& packet :
       {CraftedPacket(0).data(units(0, 1), noise(1)).damage(0), end_of_round(1),
        CraftedPacket(2, 0, wire::k_stable | wire::k_resend).data(units(0, 1), noise(1))}) {
    Bytes bytes = packet.bytes();
    const iovec piece{bytes.data(), bytes.size()};
    ASSERT_TRUE(source.write({&piece, 1}));
    const auto message = solo.next();
    ASSERT_TRUE(message && *message) << text_of(message);
    const auto taken = receiver.lane(0).take((*message)->bytes, solo);
    ASSERT_TRUE(taken) << text_of(taken);
  }
  for (const wire::ControlFrame& expected : {wire::ControlFrame(wire::Nak{.runs = {units(0, 1)}}),
                                             wire::ControlFrame(wire::RoundAck{.round = 0})}) {
    const auto message = source.next();
    ASSERT_TRUE(message && *message) << text_of(message);
    EXPECT_EQ(wire::decode_control((*message)->bytes), expected);
  }
  ASSERT_TRUE(receiver.freeze());
  EXPECT_EQ(memory_.read(units(0, 1)), copy_of(noise(1)));
}

}  // namespace
}  // namespace ferry::test
