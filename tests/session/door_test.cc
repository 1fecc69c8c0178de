// Who knocks at a receiver without belonging to its session: refused with a reason that can be
// read, and no harm done.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "channels/socket_channel.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/peer.h"
#include "tests/session/scripted_source.h"
#include "tests/wire/forge.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;
using wire::Hello;
using wire::Role;
using enum wire::HelloAck::Verdict;

Hello hello(Role role, std::uint16_t index, int session) {
  return {.session = session_id(session), .role = role, .index = index};
}

std::vector<std::byte> with_extension(const Hello& hello, std::uint16_t type) {
  std::vector<std::byte> message = wire::encode(hello);
  message.resize(message.size() - 8);
  ByteWriter out(message);
  out.u16(type);
  out.u16(0);
  out.u64(0);  // where the checksum goes
  return wire::resealed(std::move(message));
}

struct Stranger {
  std::string name;
  std::function<void(Peer&)> knock;
  wire::HelloAck::Verdict verdict;
  std::string reason;
  friend void PrintTo(const Stranger& stranger, std::ostream* out) { *out << stranger.name; }
};

std::function<void(Peer&)> says(const Hello& hello) {
  return [hello](Peer& peer) { peer.say(wire::encode(hello)); };
}

std::function<void(Peer&)> says_bytes(std::vector<std::byte> bytes) {
  return [bytes](Peer& peer) { peer.say(bytes); };
}

/// Those who are refused whether there is a session or not.
std::vector<Stranger> strangers_at_any_time() {
  Hello future = hello(Role::control, 0, 9);
  future.version_min = 2;
  future.version_max = 7;
  Hello demanding = hello(Role::control, 0, 9);
  demanding.critical_features = 4;
  std::vector<std::byte> damaged = wire::encode(hello(Role::control, 0, 9));
  damaged[20] ^= std::byte{1};
  std::vector<std::byte> endless = wire::encode(hello(Role::control, 0, 9));
  endless[6] = std::byte{0xff};
  return {
      {"SpeaksHttp",
       [](Peer& peer) { peer.say("GET / HTTP/1.1\r\nHost: node7\r\nAccept: */*\r\n\r\n"); },
       malformed, "does not begin like one"},
      {"EndsInTheMiddleOfItsHello",
       [](Peer& peer) {
         const auto bytes = wire::encode(hello(Role::control, 0, 9));
         peer.say(std::span(bytes).first(40));
         peer.finish();
       },
       malformed, "finished too early"},
      {"EndsBeforeItsHello", [](Peer& peer) { peer.finish(); }, malformed, "finished too early"},
      {"SaysADamagedHello", says_bytes(damaged), malformed, "its checksum differs"},
      {"SaysAHelloOfEndlessLength", says_bytes(endless), malformed, "a length of"},
      {"ComesFromTheFuture", says(future), version, "this side speaks 1 to 1, the other 2 to 7"},
      {"DemandsAFeature", says(demanding), feature, "unknown features 0x4"},
      {"DemandsAnExtension", says_bytes(with_extension(hello(Role::control, 0, 9), 0x8001)),
       feature, "unknown extension 0x8001"},
      {"WantsAnUrgentChannel", says(hello(Role::urgent, 0, 1)), unannounced, "role 3"},
      {"WantsARoleThatIsNone", says(hello(Role{77}, 0, 1)), unannounced, "role 77"},
      {"BringsPagesOfAnotherSession", says(hello(Role::page, 0, 9)), stranger, "no such session"},
  };
}

/// Those who are refused because there is a session, number 1, with channels 0 and 1.
std::vector<Stranger> strangers_in_a_session() {
  return {
      {"IsASecondSource", says(hello(Role::control, 0, 9)), busy, "another session is in progress"},
      {"IsASecondSourceOnOneChannel", says(hello(Role::solo, 0, 9)), busy,
       "another session is in progress"},
      {"IsASecondControlChannel", says(hello(Role::control, 0, 1)), unannounced,
       "has its control channel already"},
      {"IsAChannelThatWasNotAnnounced", says(hello(Role::page, 2, 1)), unannounced,
       "channel 2 was not announced"},
      {"IsTheLastChannelThereCanBe", says(hello(Role::page, 254, 1)), unannounced,
       "channel 254 was not announced"},
      {"IsBehindTheLastChannelThereCanBe", says(hello(Role::page, 255, 1)), unannounced,
       "channel 255 was not announced"},
      {"HasTheHighestIndex", says(hello(Role::page, 65535, 1)), unannounced,
       "channel 65535 was not announced"},
      {"IsThereAlready", says(hello(Role::page, 1, 1)), unannounced, "channel 1 is there already"},
  };
}

void expect_refused(Runtime& runtime, const std::string& uri, const Stranger& who) {
  SCOPED_TRACE(who.name);
  Peer peer = connect_to(runtime, uri);
  who.knock(peer);
  const wire::HelloAck ack = peer.hear_ack();
  EXPECT_EQ(ack.verdict, who.verdict);
  EXPECT_THAT(ack.reason, HasSubstr(who.reason));
  EXPECT_TRUE(peer.hear_the_end()) << "an end, and no reset";
}

class StrangerAtTheDoor : public testing::TestWithParam<Stranger> {};

TEST_P(StrangerAtTheDoor, IsRefusedAndTheReceiverGoesOnWaiting) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({10 * k_unit_bytes}));
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  expect_refused(*runtime, receiving.uri(), GetParam());

  SendOptions options;
  options.channels = 2;
  const Outcome sent = send(*runtime, from, receiving.uri(), options);
  EXPECT_TRUE(sent.ok()) << why_not(sent);
  const Outcome received = receiving.outcome();
  EXPECT_TRUE(received.ok()) << why_not(received);
  EXPECT_EQ(received.report.refused, 1u);
  EXPECT_TRUE(identical(from, to));
}

INSTANTIATE_TEST_SUITE_P(Who, StrangerAtTheDoor, testing::ValuesIn(strangers_at_any_time()),
                         [](const auto& test) { return test.param.name; });

TEST(Door, RefusesEverybodyElseInEveryPhaseOfASession) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({10 * k_unit_bytes}));
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  std::vector<Stranger> strangers = strangers_at_any_time();
  for (Stranger& who : strangers_in_a_session()) strangers.push_back(std::move(who));
  std::uint64_t refused = 0;
  const auto knock = [&] {
    for (const Stranger& who : strangers) expect_refused(*runtime, receiving.uri(), who);
    refused += strangers.size();
  };

  ScriptedSource source(*runtime, receiving.uri());
  source.open(from.memory().layout(), 2);
  knock();
  source.send_all(from.mappings());
  knock();
  source.prepare();
  knock();
  source.commit();
  source.control().finish();
  const Outcome received = receiving.outcome();
  EXPECT_TRUE(received.ok()) << why_not(received);
  EXPECT_EQ(received.report.refused, refused);
  EXPECT_TRUE(identical(from, to));
  EXPECT_EQ(to.starts(), 1u);
}

TEST(Door, RefusesPagesThatComeBeforeTheyAreAnnounced) {
  const auto runtime = runtime_of_all_transports();
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  ScriptedSource source(*runtime, receiving.uri());
  source.greet();
  const Stranger early{"early", says(hello(Role::page, 0, 1)), unannounced,
                       "channel 0 was not announced"};
  expect_refused(*runtime, receiving.uri(), early);
  source.control().say(wire::LayoutFrame{layout_of({4096})});
  source.control().hear<wire::LayoutAck>();
  expect_refused(*runtime, receiving.uri(), early);
}

TEST(Door, LetsASourceInThatCameWithManyWhoSayNothing) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({10 * k_unit_bytes}));
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  std::vector<Peer> silent;
  for (int i = 0; i < 40; ++i) silent.push_back(connect_to(*runtime, receiving.uri()));
  const Outcome sent = send(*runtime, from, receiving.uri(), {});
  EXPECT_TRUE(sent.ok()) << why_not(sent);
  EXPECT_TRUE(receiving.outcome().ok());
  EXPECT_TRUE(identical(from, to));
}

TEST(Door, SendsTheOldestOfTheSilentAwayAndNeverAChannelThatIsAwaited) {
  constexpr unsigned k_silent = 200;
  constexpr unsigned k_kept = 65;  // 64, and the one that is awaited
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({1000 * k_unit_bytes}));
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  std::vector<Peer> silent;
  for (unsigned i = 0; i < k_silent; ++i) silent.push_back(connect_to(*runtime, receiving.uri()));
  EXPECT_FALSE(silent.front().hear_the_end());
  SendOptions options;
  options.channels = 100;
  const Outcome sent = send(*runtime, from, receiving.uri(), options);
  EXPECT_TRUE(sent.ok()) << why_not(sent);
  const Outcome received = receiving.outcome();
  EXPECT_TRUE(received.ok()) << why_not(received);
  EXPECT_GE(received.report.refused, k_silent - k_kept);
  EXPECT_LT(received.report.refused, k_silent) << "all are sent away in the end, but not before";
  EXPECT_TRUE(identical(from, to));
}

TEST(Door, TellsASecondSenderThatTheReceiverIsBusy) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({10 * k_unit_bytes}));
  MemorySource second(layout_of({k_unit_bytes}));
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  std::optional<Outcome> refused;
  from.on_pause = [&]() -> Result<void> {
    refused = send(*runtime, second, receiving.uri(), {});
    return {};
  };
  const Outcome sent = send(*runtime, from, receiving.uri(), {});
  EXPECT_TRUE(sent.ok()) << why_not(sent);
  EXPECT_TRUE(receiving.outcome().ok());
  EXPECT_TRUE(identical(from, to));
  ASSERT_TRUE(refused && refused->why_not);
  EXPECT_EQ(refused->why_not->code, Errc::refused);
  EXPECT_THAT(why_not(*refused), HasSubstr("another session is in progress"));
  EXPECT_EQ(refused->owner, Owner::source);
  EXPECT_EQ(second.pauses(), 0u);
}

TEST(Door, RefusesOnOneDuplexChannelWhoeverDoesNotShareIt) {
  const auto runtime = runtime_of_all_transports();
  std::vector<Stranger> strangers = strangers_at_any_time();
  std::erase_if(strangers, [](const Stranger& who) { return who.verdict == stranger; });
  strangers.push_back({"WantsMoreChannels", says(hello(Role::control, 0, 1)), unannounced,
                       "here is one channel only"});
  for (const Stranger& who : strangers) {
    SCOPED_TRACE(who.name);
    const bool role = who.verdict == unannounced;
    MemoryDestination to;
    auto [ours, theirs] = make_socket_pair().value();
    Call receiving = receiving_over(*runtime, to, std::move(theirs));
    Peer peer(std::move(ours));
    who.knock(peer);
    const wire::HelloAck ack = peer.hear_ack();
    EXPECT_EQ(ack.verdict, who.verdict);
    EXPECT_THAT(ack.reason, HasSubstr(role ? "here is one channel only" : who.reason));
    EXPECT_TRUE(peer.hear_the_end());
    peer.finish();
    const Outcome received = receiving.outcome();
    EXPECT_FALSE(received.ok());
    EXPECT_EQ(received.owner, Owner::source);
  }
}

}  // namespace
}  // namespace ferry::test
