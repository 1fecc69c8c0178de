// Page channels that are worn: another takes the place of each, and nobody notices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "channels/faulty.h"
#include "channels/tcp.h"
#include "rdma/transport.h"
#include "tests/rdma/fabric.h"
#include "tests/same_bytes.h"
#include "tests/session/cutting.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/mutated_guest.h"
#include "tests/session/peer.h"
#include "tests/session/placing_transport.h"
#include "tests/session/wearing.h"

namespace ferry::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t k_at_once = 1;  // byte, with which a channel is worn: one packet on each

struct Kind {
  std::string name;
  std::function<std::unique_ptr<Transport>(Fabric&)> make;
  std::string at;
  unsigned lanes;
};

class ReplacedChannels : public testing::TestWithParam<Kind> {
 protected:
  ReplacedChannels() { runtime_->add(wear_lines(GetParam().make(fabric_), k_at_once)); }
  SendOptions options() const { return with_channels(GetParam().lanes); }

  Fabric fabric_;
  const std::unique_ptr<Runtime> runtime_ = runtime_of_all_transports();
};

std::unique_ptr<Transport> tcp(Fabric&) { return make_tcp_transport(); }
std::unique_ptr<Transport> placing(Fabric&) {
  return make_placing_transport({.landing = Landing::with_the_next_bytes});
}
std::unique_ptr<Transport> copied_and_placed(Fabric&) {
  return make_placing_transport({.pinning = Pinning::staging_alone});
}
std::unique_ptr<Transport> rdma(Fabric& fabric) {
  return make_rdma_transport_over(fabric.verbs(), {});
}
std::unique_ptr<Transport> rdma_in_chunks(Fabric& fabric) {
  return make_rdma_transport_over(fabric.verbs(), {.most_pinned = 2 * k_mib});
}
INSTANTIATE_TEST_SUITE_P(
    Over, ReplacedChannels,
    testing::Values(Kind{"OneLane", tcp, "tcp://127.0.0.1:0", 1},
                    Kind{"TwoLanes", tcp, "tcp://127.0.0.1:0", 2},
                    Kind{"FiveLanes", tcp, "tcp://127.0.0.1:0", 5},
                    Kind{"LanesThatPlace", placing, "placing://127.0.0.1:0", 2},
                    Kind{"LanesThatCopyFirst", copied_and_placed, "placing://127.0.0.1:0", 2},
                    Kind{"Rdma", rdma, "rdma://127.0.0.1:0", 2},
                    Kind{"RdmaInChunks", rdma_in_chunks, "rdma://127.0.0.1:0", 2}),
    [](const auto& test) { return test.param.name; });

TEST_P(ReplacedChannels, CarryOnePacketEach) {
  MemorySource from(layout_of({12 * k_mib + 1, 0, 700 * k_unit_bytes}));
  MemoryDestination to;
  SendOptions sending = options();
  sending.verify = Verify::full;
  const Ended ended = migrate(*runtime_, from, to, GetParam().at, sending);
  expect_replaced(ended, 8);
  EXPECT_TRUE(identical(from, to));
  EXPECT_EQ(ended.sent.report.lanes.size(), GetParam().lanes);
  const Report& report = ended.sent.report;
  if (report.placed_bytes > 0) {
    EXPECT_EQ(report.placed_bytes, report.bytes - report.zero_bytes);
  }
}

TEST_P(ReplacedChannels, MoveAGuestThatWritesAllTheTimeByteForByte) {
  MutatedSource from(2048, 64);
  MemoryDestination to;
  from.wait_for_a_write();
  SendOptions sending = options();
  sending.max_downtime = 2s;
  const Ended ended = migrate(*runtime_, from, to, GetParam().at, sending);
  expect_replaced(ended, 1);
  EXPECT_TRUE(same_bytes(from.bytes(), to.mappings()->region(0)));
}

TEST_P(ReplacedChannels, MoveDeviceStateWhoseRoundIsOneOfPagesToo) {
  MemorySource from(layout_of({40 * k_unit_bytes}));
  MemoryDestination to;
  const auto state = counting(3 * k_mib);
  give_and_expect(from, to, state);
  from.on_save = [&, give = from.on_save](StateWriter& out) -> Result<void> {
    FERRY_TRY(give(out));
    from.write(0, 1, std::byte{0x55});
    return {};
  };
  expect_replaced(migrate(*runtime_, from, to, GetParam().at, options()), 2);
  EXPECT_TRUE(identical(from, to));
}

TEST(ReplacedChannel, WhatWasDamagedOnOneComesAgainOnAnother) {
  const auto runtime = runtime_of_all_transports();
  // Every channel damages one byte, which a packet of many pages has and one of a single page not.
  runtime->add(wrap_lines(
      make_tcp_transport(),
      [](std::unique_ptr<Channel> line) { return wearing(std::move(line), k_at_once); },
      [](std::unique_ptr<Channel> line) {
        return make_faulty(std::move(line), {.reading = {.flip_at = 30'000}});
      }));
  MemorySource from(layout_of({200 * k_unit_bytes}));
  MemoryDestination to;
  from.on_pause = [&]() -> Result<void> {  // for a round in which what differs is damage
    for (std::uint64_t unit = 0; unit < 200; ++unit) from.write(0, unit, std::byte{7});
    return {};
  };
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", with_channels(1));
  expect_replaced(ended, 2);
  EXPECT_GE(ended.sent.report.resent, 1u);
  EXPECT_EQ(ended.sent.report.resent, ended.received.report.resent);
  EXPECT_TRUE(identical(from, to));
}

/// All lines are cut after 0, 1, 2, ... messages: also where one channel takes another's place.
class CutWhileReplaced : public testing::TestWithParam<Side> {};
INSTANTIATE_TEST_SUITE_P(At, CutWhileReplaced, testing::Values(Side::source, Side::destination),
                         [](const auto& test) {
                           return test.param == Side::source ? "TheSource" : "TheDestination";
                         });

TEST_P(CutWhileReplaced, NeverGivesAGuestTwoOwners) {
  for (std::size_t messages = 0;; ++messages) {
    ASSERT_LT(messages, 400u) << "it never came to an end";
    SCOPED_TRACE("after " + std::to_string(messages) + " messages");
    Scissors scissors(messages);
    const auto runtime = runtime_of_all_transports();
    runtime->add(wear_lines(cut_tcp(scissors, GetParam()), k_at_once));
    MemorySource from(layout_of({60 * k_unit_bytes, 5}));
    from.on_pause = [&]() -> Result<void> {
      from.write(0, 2, std::byte{2});
      return {};
    };
    MemoryDestination to;
    const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", with_channels(2));
    EXPECT_LE(from.runs() + to.starts(), 1u) << "the guest runs twice";
    EXPECT_EQ(from.runs(), ended.sent.owner == Owner::source);
    EXPECT_EQ(to.starts() == 1, ended.received.owner == Owner::destination);
    if (!ended.sent.ok()) continue;
    expect_replaced(ended, 1);
    EXPECT_TRUE(identical(from, to));
    return;
  }
}

/// A source whose one channel is worn by its first packet, and the other side by hand.
class WornSource : public testing::Test {
 protected:
  /// Up to where its pages go.
  Door::Source greet(std::uint32_t features = wire::k_known_optional_features) {
    return door_.accept_source(features);
  }
  /// Up to where another channel may come.
  static void expect_another(Peer& control) {
    EXPECT_EQ(control.hear<wire::ReplaceChannel>(), wire::ReplaceChannel{0});
    control.say(wire::ChannelsAck{.first = 0, .count = 1});
  }
  void expect_failed(Peer& control, Errc code, const std::string& text) {
    while (control.hear_any()) {  // its last words, and the end
    }
    control.finish();
    expect_kept(sent_.outcome(), from_, code, text);
  }
  static SendOptions one_lane() {
    SendOptions options = with_channels(1);
    options.timeout = 3s;
    return options;
  }

  static std::unique_ptr<Runtime> runtime_of_worn_lines() {
    auto runtime = runtime_of_all_transports();
    runtime->add(wear_lines(make_tcp_transport(), k_at_once));
    return runtime;
  }

  const std::unique_ptr<Runtime> runtime_ = runtime_of_worn_lines();
  MemorySource from_{layout_of({100 * k_unit_bytes})};
  Door door_;
  Call sent_ = sending(*runtime_, from_, door_.uri(), one_lane());
};

TEST_F(WornSource, AsksForAnotherChannelOfTheSameLane) {
  auto [offer, control, page] = greet();
  expect_another(control);
  Peer next = door_.accept_silently();
  const wire::Hello hello = next.hear_hello();
  EXPECT_EQ(hello.role, wire::Role::page);
  EXPECT_EQ(hello.index, 0);
  next.say(wire::encode(wire::HelloAck{.session = hello.session}));
  page.hear_packets(1);
  EXPECT_TRUE(page.hear_the_end());
  next.hear_packets(1);
  // No more until it is known that all of the first one was read.
  page.finish();
  EXPECT_EQ(control.hear<wire::ReplaceChannel>(), wire::ReplaceChannel{0});
  control.say(wire::Abort{Errc::cancelled, "enough"});
  expect_failed(control, Errc::disconnected, "was cancelled");
}

TEST_F(WornSource, GoesOnOnItsChannelToAReceiverThatTakesNoOther) {
  auto [offer, control, page] = greet(wire::k_device_state | wire::k_state_on_lanes);
  page.hear_packets(3);
  control.say(wire::Abort{Errc::cancelled, "enough"});
  expect_failed(control, Errc::disconnected, "was cancelled");
}

TEST_F(WornSource, GivesUpWhereTheReceiverRefusesTheOther) {
  auto [offer, control, page] = greet();
  expect_another(control);
  Peer next = door_.accept_silently();
  const wire::Hello hello = next.hear_hello();
  next.say(wire::encode(wire::HelloAck{.verdict = wire::HelloAck::Verdict::unannounced,
                                       .session = hello.session,
                                       .reason = "one is enough"}));
  next.finish();
  expect_failed(control, Errc::refused, "replace channel 0, which is worn: ");
}

TEST_F(WornSource, DialsAgainWhereTheOtherIsCutBeforeItIsGreeted) {
  auto [offer, control, page] = greet();
  expect_another(control);
  { const Peer next = door_.accept_silently(); }
  Peer next = door_.accept();
  next.hear_packets(1);
  control.say(wire::Abort{Errc::cancelled, "enough"});
  expect_failed(control, Errc::disconnected, "was cancelled");
}

TEST_F(WornSource, GivesUpWhereTheOtherIsNeverGreeted) {
  auto [offer, control, page] = greet();
  expect_another(control);
  const Peer next = door_.accept_silently();
  expect_failed(control, Errc::timed_out, "");
}

TEST_F(WornSource, GivesUpWhereTheOldOneIsNeverReadToItsEnd) {
  auto [offer, control, page] = greet();
  expect_another(control);
  Peer next = door_.accept();
  next.hear_packets(1);
  expect_failed(control, Errc::timed_out, "");
}

TEST_F(WornSource, StopsWhileItWaitsForTheEndOfTheOldOne) {
  auto [offer, control, page] = greet();
  expect_another(control);
  Peer next = door_.accept();
  next.hear_packets(1);
  sent_.stop();
  expect_failed(control, Errc::cancelled, "cancelled");
}

TEST_F(WornSource, StopsWhileTheOtherIsDialled) {
  auto [offer, control, page] = greet();
  expect_another(control);
  const Peer next = door_.accept_silently();
  sent_.stop();
  expect_failed(control, Errc::cancelled, "cancelled");
}

TEST_F(WornSource, GivesUpWhereTheReceiverNeverAnswers) {
  auto [offer, control, page] = greet();
  control.hear<wire::ReplaceChannel>();
  expect_failed(control, Errc::timed_out, "");
}

TEST_F(WornSource, IsNotAnsweredForAnotherLane) {
  auto [offer, control, page] = greet();
  control.hear<wire::ReplaceChannel>();
  control.say(wire::ChannelsAck{.first = 1, .count = 1});
  expect_failed(control, Errc::protocol, "the receiver answered 'channels-ack'");
}

TEST_F(WornSource, StopsWhileItWaitsForTheOther) {
  auto [offer, control, page] = greet();
  control.hear<wire::ReplaceChannel>();
  sent_.stop();
  expect_failed(control, Errc::cancelled, "cancelled");
}

TEST_F(WornSource, GivesUpWhereTheReceiverSpeaksOnAChannelThatIsOver) {
  auto [offer, control, page] = greet();
  expect_another(control);
  Peer next = door_.accept();
  next.hear_packets(1);
  page.say(wire::Heartbeat{});
  expect_failed(control, Errc::protocol, "it goes on where it should finish");
}

}  // namespace
}  // namespace ferry::test
