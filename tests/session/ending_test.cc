// Somebody on one side asks for the end: both sides end, and say why.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "channels/buffer.h"
#include "channels/faulty.h"
#include "channels/socket_channel.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/peer.h"
#include "tests/session/scripted_source.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;

void expect_failure(const Outcome& outcome, Errc code, const std::string& text) {
  ASSERT_TRUE(outcome.why_not);
  EXPECT_EQ(outcome.why_not->code, code) << why_not(outcome);
  EXPECT_THAT(why_not(outcome), HasSubstr(text));
  EXPECT_EQ(outcome.owner, Owner::source);
}

TEST(StopRequest, EndsAReceiverThatWaitsForASender) {
  const auto runtime = runtime_of_all_transports();
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  EXPECT_NE(receiving.uri(), "");
  receiving.stop();
  expect_failure(receiving.outcome(), Errc::cancelled, "cancelled");
}

TEST(StopRequest, EndsAReceiverOnOneChannelThatWaitsForAHello) {
  const auto runtime = runtime_of_all_transports();
  MemoryDestination to;
  auto [ours, theirs] = make_socket_pair().value();
  Call receiving = receiving_over(*runtime, to, std::move(theirs));
  receiving.stop();
  expect_failure(receiving.outcome(), Errc::cancelled, "");
}

TEST(StopRequest, ThatCameBeforeEndsBothAtOnce) {
  const auto runtime = runtime_of_all_transports();
  std::stop_source stop;
  stop.request_stop();
  MemoryDestination to;
  expect_failure(receive(*runtime, to, "tcp://127.0.0.1:0", {}, stop.get_token()), Errc::cancelled,
                 "");
  MemorySource from(layout_of({4096}));
  Door door;
  expect_failure(send(*runtime, from, door.uri(), {}, stop.get_token()), Errc::cancelled, "");
  EXPECT_EQ(from.pauses(), 0u);
}

TEST(StopRequest, EndsASenderWhoseHelloIsNotAnswered) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({4096}));
  Door door;
  Call sent = sending(*runtime, from, door.uri());
  Peer peer = door.accept_silently();
  peer.hear_hello();
  sent.stop();
  expect_failure(sent.outcome(), Errc::cancelled, "");
}

TEST(StopRequest, EndsASenderWhosePageChannelsAreNotAnswered) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({4096}));
  Door door;
  SendOptions options;
  options.channels = 1;
  Call sent = sending(*runtime, from, door.uri(), options);
  Peer control = door.accept_control(1);
  Peer page = door.accept_silently();
  page.hear_hello();
  sent.stop();
  control.hear<wire::AddChannels>();
  EXPECT_EQ(control.hear<wire::Abort>().code, Errc::cancelled);
  control.finish();
  expect_failure(sent.outcome(), Errc::cancelled, "");
}

/// A moment in a migration, by the callback of a guest that it happens in.
struct Moment {
  std::string name;
  std::function<Hook&(MemorySource&, MemoryDestination&)> hook;
  friend void PrintTo(const Moment& moment, std::ostream* out) { *out << moment.name; }
};

std::vector<Moment> moments_before_the_commit() {
  return {
      {"MemoryIsMapped",
       [](MemorySource&, MemoryDestination& to) -> Hook& { return to.on_map_memory; }},
      {"TrackingStarts",
       [](MemorySource& from, MemoryDestination&) -> Hook& { return from.on_start_tracking; }},
      {"BetweenRounds",
       [](MemorySource& from, MemoryDestination&) -> Hook& { return from.on_harvest; }},
      {"TheGuestIsPaused",
       [](MemorySource& from, MemoryDestination&) -> Hook& { return from.on_pause; }},
      {"ItIsMadeDurable",
       [](MemorySource&, MemoryDestination& to) -> Hook& { return to.on_prepare; }},
  };
}

class StopRequestWhile : public testing::TestWithParam<Moment> {
 protected:
  std::unique_ptr<Runtime> runtime_ = runtime_of_all_transports();
  MemorySource from_{layout_of({100 * k_unit_bytes, 5})};
  MemoryDestination to_;
  std::stop_source stop_;  // of the side that is asked
  Hook stop_here_ = [this]() -> Result<void> {
    stop_.request_stop();
    return {};
  };

  void expect_nobody_started() {
    EXPECT_TRUE(from_.runs());
    EXPECT_FALSE(from_.tracking());
    EXPECT_EQ(to_.starts(), 0u);
  }
};

TEST_P(StopRequestWhile, EndsTheSourceAndTellsTheDestination) {
  GetParam().hook(from_, to_) = stop_here_;
  Receiving receiving(*runtime_, to_);
  const Outcome sent = send(*runtime_, from_, receiving.uri(), {}, stop_.get_token());
  expect_failure(sent, Errc::cancelled, "cancelled");
  expect_failure(receiving.outcome(), Errc::disconnected, "the sender was cancelled");
  expect_nobody_started();
}

TEST_P(StopRequestWhile, EndsTheDestinationAndTellsTheSource) {
  GetParam().hook(from_, to_) = stop_here_;
  auto [ours, theirs] = make_socket_pair().value();
  Call sent = sending_over(*runtime_, from_, std::move(ours));
  const Outcome received = receive_over(*runtime_, to_, std::move(theirs), {}, stop_.get_token());
  expect_failure(received, Errc::cancelled, "cancelled");
  expect_failure(sent.outcome(), Errc::disconnected, "the receiver was cancelled");
  expect_nobody_started();
}

TEST_P(StopRequestWhile, EndsADestinationOfSeveralChannelsAndTellsTheSource) {
  std::promise<std::string> uri;
  ReceiveOptions options;
  options.observer.listening = [&](const Uri& local, Reach) { uri.set_value(local.text()); };
  GetParam().hook(from_, to_) = stop_here_;
  Call receiving([&](std::stop_token) {
    return receive(*runtime_, to_, "tcp://127.0.0.1:0", options, stop_.get_token());
  });
  const Outcome sent = send(*runtime_, from_, uri.get_future().get(), {});
  expect_failure(sent, Errc::disconnected, "the receiver was cancelled");
  expect_failure(receiving.outcome(), Errc::cancelled, "cancelled");
  expect_nobody_started();
}

INSTANTIATE_TEST_SUITE_P(Moments, StopRequestWhile, testing::ValuesIn(moments_before_the_commit()),
                         [](const auto& test) { return test.param.name; });

TEST(StopRequest, IsNotHeardOnceTheGuestIsHandedOver) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({100 * k_unit_bytes}));
  MemoryDestination to;
  std::stop_source stop;
  to.on_start = [&]() -> Result<void> {
    stop.request_stop();
    return {};
  };
  auto [ours, theirs] = make_socket_pair().value();
  Call receiving([&](std::stop_token) {
    return receive_over(*runtime, to, std::move(theirs), {}, stop.get_token());
  });
  const Outcome sent = send_over(*runtime, from, std::move(ours), {}, stop.get_token());
  EXPECT_TRUE(sent.ok()) << why_not(sent);
  const Outcome received = receiving.outcome();
  EXPECT_TRUE(received.ok()) << why_not(received);
  EXPECT_TRUE(identical(from, to));
}

TEST(StopRequest, EndsASenderWhosePeerDoesNotRead) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({8 * k_mib}));
  auto [ours, theirs] = make_buffer_pair();
  Call sent = sending_over(*runtime, from, std::move(ours));
  Peer peer(std::move(theirs));
  peer.accept_hello();
  peer.hear<wire::LayoutFrame>();
  peer.say(wire::LayoutAck{});
  sent.stop();
  expect_failure(sent.outcome(), Errc::cancelled, "cancelled");
  EXPECT_TRUE(from.runs());
}

TEST(StopRequest, EndsASenderWhosePageChannelsAreNotRead) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({64 * k_mib}));
  Door door;
  SendOptions options;
  options.channels = 2;
  Call sent = sending(*runtime, from, door.uri(), options);
  Peer control = door.accept_control(2);
  Peer one = door.accept();
  Peer two = door.accept();
  sent.stop();
  control.hear<wire::AddChannels>();
  EXPECT_EQ(control.hear<wire::Abort>().code, Errc::cancelled);
  EXPECT_TRUE(control.hear_the_end());
  control.finish();
  expect_failure(sent.outcome(), Errc::cancelled, "cancelled");
  EXPECT_TRUE(from.runs());
}

TEST(StopRequest, EndsAReceiverInTheMiddleOfAPacketAndTellsTheSender) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({8 * k_mib}));
  MemoryDestination to;
  auto [ours, theirs] = make_buffer_pair();
  theirs = make_faulty(std::move(theirs), {.reading = {.stall_after = 100'000}});
  Call sent = sending_over(*runtime, from, std::move(ours));
  std::promise<void> mapped;
  to.on_map_memory = [&]() -> Result<void> {
    mapped.set_value();
    return {};
  };
  Call receiving = receiving_over(*runtime, to, std::move(theirs));
  mapped.get_future().wait();
  receiving.stop();
  expect_failure(receiving.outcome(), Errc::cancelled, "cancelled");
  expect_failure(sent.outcome(), Errc::disconnected, "the receiver was cancelled");
  EXPECT_TRUE(from.runs());
  EXPECT_EQ(to.starts(), 0u);
}

TEST(StopRequest, EndsAReceiverWhileASourceKeepsSilentBetweenItsPackets) {
  const auto runtime = runtime_of_all_transports();
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  ScriptedSource source(*runtime, receiving.uri());
  source.open(layout_of({10 * k_unit_bytes}), 2);
  source.zeros(0, {0, 0, k_unit_bytes});
  receiving.stop();
  EXPECT_EQ(source.control().hear<wire::Abort>().code, Errc::cancelled);
  EXPECT_TRUE(source.control().hear_the_end());
  source.control().finish();
  expect_failure(receiving.outcome(), Errc::cancelled, "cancelled");
  EXPECT_EQ(to.starts(), 0u);
}

}  // namespace
}  // namespace ferry::test
