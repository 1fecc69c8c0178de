// Receivers that say what no honest one would, to a real send().
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "channels/socket_channel.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/peer.h"
#include "wire/packet.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t k_units = 10;

/// send_over() at one end of a line, and a peer at the other.
class Scene {
 public:
  explicit Scene(SendOptions options = {}) : Scene(make_socket_pair().value(), options) {}

  /// Up to the point where pages flow.
  void open() {
    peer.accept_hello();
    peer.hear<wire::LayoutFrame>();
    peer.say(wire::LayoutAck{});
  }
  /// Up to PREPARE. The round is acknowledged before it has come: this peer lies.
  wire::Prepare open_until_prepare() {
    open();
    peer.say(wire::RoundAck{0});
    return peer.hear<wire::Prepare>();
  }
  /// Up to COMMIT.
  wire::Commit open_until_commit() {
    peer.say(ready_for(open_until_prepare()));
    return peer.hear<wire::Commit>();
  }
  static wire::Ready ready_for(const wire::Prepare& prepare) {
    return {.transcript = prepare.transcript, .units_received = k_units};
  }

  /// The guest stays at the source, and runs there.
  void expect_failed(Errc code, const std::string& text) {
    hear_its_last_words();
    expect_kept(sent.outcome(), from, code, text);
  }
  /// Nobody knows, and the source does not run it.
  void expect_unknown(Errc code, const std::string& text) {
    hear_its_last_words();
    const Outcome outcome = sent.outcome();
    ASSERT_TRUE(outcome.why_not);
    EXPECT_EQ(outcome.why_not->code, code) << why_not(outcome);
    EXPECT_THAT(why_not(outcome), HasSubstr(text));
    EXPECT_EQ(outcome.owner, Owner::unknown);
    EXPECT_EQ(from.pauses(), 1u);
    EXPECT_EQ(from.resumes(), 0u);
  }

  std::unique_ptr<Runtime> runtime = runtime_of_all_transports();
  MemorySource from{layout_of({k_units * k_unit_bytes})};
  Peer peer;
  Call sent;

 private:
  using Line = std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>>;
  /// Or else it would wait for us to hear them.
  void hear_its_last_words() {
    peer.hear_the_end();
    peer.finish();
  }

  Scene(Line line, const SendOptions& options)
      : peer(std::move(line.first)),
        sent(sending_over(*runtime, from, std::move(line.second), options)) {}
};

TEST(HostileReceiver, CannotAnswerForAnotherSession) {
  Scene scene;
  scene.peer.hear_hello();
  wire::HelloAck ack;
  ack.session = session_id(9);
  scene.peer.say(wire::encode(ack));
  scene.expect_failed(Errc::protocol, "the answer is to another Hello");
}

TEST(HostileReceiver, CannotPickAVersionThatWasNotOffered) {
  for (const std::uint16_t version : {0, 2, 65535}) {
    Scene scene;
    wire::HelloAck ack;
    ack.session = scene.peer.hear_hello().session;
    ack.version = version;
    scene.peer.say(wire::encode(ack));
    scene.expect_failed(Errc::protocol, "the answer is to another Hello");
  }
}

TEST(HostileReceiver, CannotDemandAFeatureThatIsUnknown) {
  Scene scene;
  wire::HelloAck ack;
  ack.session = scene.peer.hear_hello().session;
  ack.critical_features = 2;
  scene.peer.say(wire::encode(ack));
  scene.expect_failed(Errc::unsupported, "0x2");
}

TEST(HostileReceiver, IsHeardWhenItRefusesWhateverItsVerdict) {
  for (const unsigned verdict : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 99u, 65535u}) {
    Scene scene;
    wire::HelloAck ack;
    ack.verdict = static_cast<wire::HelloAck::Verdict>(verdict);
    ack.session = scene.peer.hear_hello().session;
    ack.reason = "I do not like\nyour face";
    scene.peer.say(wire::encode(ack));
    scene.expect_failed(Errc::refused, "I do not like\\x0ayour face");
    EXPECT_EQ(scene.from.pauses(), 0u);
  }
}

TEST(HostileReceiver, CannotRefuseAPageOfARoundThatItHasAcknowledged) {
  Scene scene;
  scene.from.on_pause = [&]() -> Result<void> {
    scene.from.write(0, 0, std::byte{1});
    return {};
  };
  scene.open();
  for (const std::uint32_t round : {0, 1}) {
    scene.peer.hear_packets(2);  // the pages, and the end of the round
    scene.peer.say(wire::RoundAck{round});
  }
  scene.peer.hear<wire::Prepare>();
  scene.peer.say(wire::Nak{.lane = 0, .sequence = 2, .runs = {{0, 0, k_unit_bytes}}});
  scene.expect_failed(Errc::protocol, "NAK of packet 2 on channel 0: it is not to be refused");
}

TEST(HostileReceiver, CannotAnswerAHelloWithGarbage) {
  Scene scene;
  scene.peer.say("HTTP/1.1 400 Bad Request\r\n\r\n");
  scene.expect_failed(Errc::protocol, "does not begin like one");
}

TEST(HostileReceiver, IsGivenUpWhenItNeverAnswersAHello) {
  SendOptions options;
  options.timeout = std::chrono::milliseconds(50);
  Scene scene(options);
  scene.expect_failed(Errc::timed_out, "open a session: timed out");
}

TEST(HostileReceiver, CannotSpeakOutOfTurn) {
  const std::vector<wire::ControlFrame> frames = {
      wire::RoundAck{0}, wire::ChannelsAck{0, 1}, wire::Ready{},      wire::Started{},
      wire::Prepare{},   wire::Commit{},          wire::LayoutFrame{}};
  for (const wire::ControlFrame& frame : frames) {
    SCOPED_TRACE(wire::name_of(frame));
    Scene scene;
    scene.peer.accept_hello();
    scene.peer.say(frame);
    scene.expect_failed(Errc::protocol, "where 'layout-ack' was expected");
    EXPECT_EQ(scene.from.pauses(), 0u);
  }
}

TEST(HostileReceiver, CannotAcknowledgeAnotherRound) {
  for (const std::uint32_t round : {1u, UINT32_MAX}) {
    Scene scene;
    scene.open();
    scene.peer.say(wire::RoundAck{round});
    scene.expect_failed(Errc::protocol, "end round 0: the receiver answered 'round-ack'");
  }
}

TEST(HostileReceiver, CannotSuspectMemoryThatThereIsNot) {
  Scene scene;
  scene.open();
  scene.peer.say(wire::Suspects{{{0, k_units * k_unit_bytes, k_unit_bytes}}});
  scene.expect_failed(Errc::protocol, "in region 0");
}

TEST(HostileReceiver, CannotRefuseAPacketThatWasNeverSent) {
  Scene scene;
  scene.open_until_prepare();
  scene.peer.say(wire::Nak{.lane = 0, .sequence = 1000, .runs = {{0, 0, k_unit_bytes}}});
  scene.expect_failed(Errc::protocol, "NAK of packet 1000 on channel 0");
}

TEST(HostileReceiver, CannotForgeItsTranscript) {
  for (const int lie : {0, 1, 2, 3}) {
    Scene scene;
    wire::Ready ready = Scene::ready_for(scene.open_until_prepare());
    if (lie == 0) ready.transcript.lanes[0].headers ^= 1;
    if (lie == 1) ready.transcript.lanes.clear();
    if (lie == 2) ready.units_received = k_units - 1;
    if (lie == 3) ready.units_suspect = 1;
    scene.peer.say(ready);
    scene.expect_failed(Errc::integrity, "compare transcripts");
    EXPECT_EQ(scene.from.resumes(), 1u);
  }
}

TEST(HostileReceiver, LeavesTheOwnerUnknownWhenItStartsAnotherGuest) {
  Scene scene;
  wire::Started started{.token = scene.open_until_commit().token};
  started.token.bytes[3] ^= std::byte{1};
  scene.peer.say(started);
  scene.expect_unknown(Errc::protocol, "another token");
}

TEST(HostileReceiver, LeavesTheOwnerUnknownWhenItEndsAfterTheCommit) {
  Scene scene;
  scene.open_until_commit();
  scene.peer.finish();
  scene.expect_unknown(Errc::disconnected, "ended before its time");
}

TEST(HostileReceiver, CannotKeepTheSenderByTalkingOn) {
  Scene scene;
  const wire::Started started{.token = scene.open_until_commit().token};
  scene.peer.say(started);
  for (int i = 0; i < 1000 && scene.peer.say(wire::RoundAck{}); ++i) {
  }
  const Outcome outcome = scene.sent.outcome();
  EXPECT_TRUE(outcome.ok()) << why_not(outcome);
  EXPECT_EQ(outcome.owner, Owner::destination);
}

TEST(HostileReceiver, CannotFloodTheSender) {
  Scene scene;
  scene.peer.accept_hello();
  for (int i = 0; i < 5000 && scene.peer.say(wire::RoundAck{}); ++i) {
  }
  scene.expect_failed(Errc::protocol, "where 'layout-ack' was expected");
}

SendOptions options_of_little_patience() {
  SendOptions options;
  options.ready_timeout = std::chrono::milliseconds(50);
  return options;
}

TEST(HostileReceiver, CannotHoldAPausedGuestByNeverBeingReady) {
  Scene scene(options_of_little_patience());
  scene.open_until_prepare();
  scene.expect_failed(Errc::timed_out, "wait for READY");
  EXPECT_EQ(scene.from.resumes(), 1u);
}

TEST(HostileReceiver, CannotHoldAPausedGuestByNeverTakingItsLastRound) {
  Scene scene(options_of_little_patience());
  scene.from.on_pause = [&]() -> Result<void> {
    scene.from.write(0, 1, std::byte{1});
    return {};
  };
  scene.open();
  scene.peer.hear_packets(2);  // all of its memory, and the end of the round
  scene.peer.say(wire::RoundAck{0});
  scene.expect_failed(Errc::timed_out, "wait for READY");
  EXPECT_EQ(scene.from.resumes(), 1u);
}

TEST(HostileReceiver, LeavesTheOwnerUnknownWhenItNeverAnswersACommit) {
  Scene scene(options_of_little_patience());
  scene.open_until_commit();
  scene.expect_unknown(Errc::timed_out, "wait for STARTED");
}

TEST(HostileReceiver, CannotSendPages) {
  Scene scene;
  scene.open();
  wire::PacketHeader header;
  header.runs = {{.run = {0, 0, k_unit_bytes}, .kind = wire::RunKind::zero}};
  scene.peer.say(wire::encode(header).bytes);
  scene.expect_failed(Errc::protocol, "a packet on the control channel");
}

TEST(HostileReceiver, IsHeardWhenItRefusesAPageChannel) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({k_units * k_unit_bytes}));
  Door door;
  SendOptions options;
  options.channels = 3;
  Call sent = sending(*runtime, from, door.uri(), options);
  Peer control = door.accept_control(3);
  Peer one = door.accept();
  Peer two = door.accept_silently();
  wire::HelloAck ack;
  ack.verdict = wire::HelloAck::Verdict::unannounced;
  ack.session = two.hear_hello().session;
  ack.reason = "two are enough";
  two.say(wire::encode(ack));
  const Outcome outcome = sent.outcome();
  ASSERT_TRUE(outcome.why_not);
  EXPECT_EQ(outcome.why_not->code, Errc::refused);
  EXPECT_THAT(why_not(outcome), HasSubstr("two are enough"));
  EXPECT_EQ(outcome.owner, Owner::source);
}

TEST(ReceiverThatFails, IsHeardAlthoughItTurnsPageChannelsAwayFirst) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({k_units * k_unit_bytes}));
  Door door;
  SendOptions options;
  options.channels = 1;
  Call sent = sending(*runtime, from, door.uri(), options);
  Peer control = door.accept_control(1);
  Peer page = door.accept_silently();
  wire::HelloAck ack;
  ack.verdict = wire::HelloAck::Verdict::ended;
  ack.session = page.hear_hello().session;
  ack.reason = "the session is over";
  page.say(wire::encode(ack));
  control.hear<wire::AddChannels>();
  control.hear<wire::Abort>();  // so that it has failed already when it hears why
  control.say(wire::Abort{.code = Errc::system, .text = "the disk is full"});
  control.finish();
  const Outcome outcome = sent.outcome();
  ASSERT_TRUE(outcome.why_not);
  EXPECT_EQ(outcome.why_not->code, Errc::disconnected);
  EXPECT_THAT(why_not(outcome), HasSubstr("the disk is full"));
}

struct LastWords {
  Errc said;
  Errc heard;
  std::string text;
};
const std::vector<LastWords> k_last_words = {
    {Errc::cancelled, Errc::disconnected, "the receiver was cancelled"},
    {Errc::timed_out, Errc::disconnected, "the receiver failed: why"},
    {Errc::disconnected, Errc::disconnected, "the receiver failed: why"},
    {Errc::refused, Errc::refused, "the receiver refused: why"},
    {Errc::protocol, Errc::disconnected, "the receiver failed: why"},
    {Errc::integrity, Errc::integrity, "the receiver found damage: why"},
    {Errc::auth, Errc::refused, "the receiver refused: why"},
    {Errc::unsupported, Errc::refused, "the receiver refused: why"},
    {Errc::unreachable, Errc::disconnected, "the receiver failed: why"},
    {Errc::usage, Errc::disconnected, "the receiver failed: why"},
    {Errc::system, Errc::disconnected, "the receiver failed: why"},
    {Errc::guest, Errc::disconnected, "the receiver failed: why"},
};

TEST(ReceiverThatFails, IsUnderstoodWhateverItsReason) {
  for (const LastWords& words : k_last_words) {
    SCOPED_TRACE(to_string(words.said));
    Scene scene;
    scene.open_until_prepare();
    scene.peer.say(wire::Abort{.code = words.said, .text = "why"});
    scene.expect_failed(words.heard, words.text);
    EXPECT_EQ(scene.from.resumes(), 1u);
  }
}

TEST(ReceiverThatFails, LeavesTheOwnerUnknownAfterTheCommit) {
  for (const LastWords& words : k_last_words) {
    SCOPED_TRACE(to_string(words.said));
    Scene scene;
    scene.open_until_commit();
    scene.peer.say(wire::Abort{.code = words.said, .text = "why"});
    scene.expect_unknown(words.heard, words.text);
  }
}

}  // namespace
}  // namespace ferry::test
