// Senders that say what no honest one would, to a real receive().
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/scripted_source.h"
#include "tests/wire/forge.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;

const PageRun k_all{0, 0, 10 * k_unit_bytes};

struct Hostility {
  std::string name;
  std::function<void(ScriptedSource&, const MemorySource& memory)> act;
  Errc code;
  std::string text;
  friend void PrintTo(const Hostility& hostility, std::ostream* out) { *out << hostility.name; }
};

using Act = std::function<void(ScriptedSource&, const MemorySource&)>;

Layout layout() { return layout_of({k_all.length}); }

/// Says a frame after the session has come so far.
Act first_says(const wire::ControlFrame& frame) {
  return [frame](ScriptedSource& source, const MemorySource&) {
    source.greet();
    source.control().say(frame);
  };
}
Act opens_then(std::function<void(ScriptedSource&)> act) {
  return [act](ScriptedSource& source, const MemorySource&) {
    source.open(layout(), 2);
    act(source);
  };
}
Act sends_all_then(std::function<void(ScriptedSource&)> act) {
  return [act](ScriptedSource& source, const MemorySource& memory) {
    source.open(layout(), 2);
    source.send_all(memory.mappings());
    act(source);
  };
}
Act prepares_then(std::function<void(ScriptedSource&)> act) {
  return [act](ScriptedSource& source, const MemorySource& memory) {
    source.open(layout(), 2);
    source.send_all(memory.mappings());
    source.prepare();
    act(source);
  };
}

std::vector<Hostility> wrong_order() {
  using enum Errc;
  const auto says = [](wire::ControlFrame frame) {
    return [frame](ScriptedSource& source) { source.control().say(frame); };
  };
  return {
      {"PreparesFirst", first_says(wire::Prepare{}), protocol, "no round has ended yet"},
      {"CommitsFirst", first_says(wire::Commit{}), protocol, "what was prepared"},
      {"AddsChannelsFirst", first_says(wire::AddChannels{0, 1}), protocol, "add channels: not now"},
      {"SpeaksLikeAReceiver", first_says(wire::LayoutAck{}), protocol,
       "'layout-ack' from the sender"},
      {"SaysStarted", first_says(wire::Started{}), protocol, "'started' from the sender"},
      {"AsksForDamage", opens_then(says(wire::Nak{0, 0, {k_all}})), protocol,
       "'nak' from the sender"},
      {"AnnouncesMemoryTwice", opens_then(says(wire::LayoutFrame{layout()})), protocol,
       "wrong order"},
      {"AddsChannelsTwice", opens_then(says(wire::AddChannels{2, 1})), protocol,
       "add channels: not now"},
      {"AddsTheSameChannelsTwice", opens_then(says(wire::AddChannels{0, 2})), protocol,
       "add channels: not now"},
      {"BeginsWithTheSecondChannel",
       [](ScriptedSource& source, const MemorySource&) {
         source.greet();
         source.control().say(wire::LayoutFrame{layout()});
         source.control().hear<wire::LayoutAck>();
         source.control().say(wire::AddChannels{1, 1});
       },
       protocol, "add channels: not now"},
      {"PreparesBeforeAnyRound", opens_then(says(wire::Prepare{})), protocol,
       "no round has ended yet"},
      {"CommitsBeforeAnyRound", opens_then(says(wire::Commit{})), protocol, "what was prepared"},
      {"CommitsBeforeItPrepares", sends_all_then([](ScriptedSource& source) {
         source.control().say(wire::Commit{.transcript = source.transcript()});
       }),
       protocol, "what was prepared"},
      {"PreparesTwice", prepares_then([](ScriptedSource& source) {
         source.control().say(wire::Prepare{.transcript = source.transcript()});
       }),
       protocol, "prepare"},
      {"AddsChannelsAfterReady", prepares_then(says(wire::AddChannels{2, 1})), protocol,
       "add channels: not now"},
  };
}

std::vector<Hostility> wrong_words() {
  using enum Errc;
  return {
      {"SendsAPacketOnControl", opens_then([](ScriptedSource& source) {
         wire::PacketHeader header;
         header.runs = {{.run = k_all, .kind = wire::RunKind::zero}};
         source.control().say(wire::encode(header).bytes);
       }),
       protocol, "a packet on the control channel"},
      {"SendsAFrameOnAPageChannel",
       opens_then([](ScriptedSource& source) { source.page(0).say(wire::Heartbeat{}); }), protocol,
       "a control frame on a page channel"},
      {"SendsGarbage", opens_then([](ScriptedSource& source) {
         source.control().say("It was a dark and stormy night");
       }),
       protocol, "neither a control frame nor a packet"},
      {"SendsAFrameThatIsUnknownAndCritical", opens_then([](ScriptedSource& source) {
         source.control().say(wire::sealed("FRYC", [](ByteWriter& out) { out.u16(77); }));
       }),
       protocol, "unknown type 77"},
      {"SendsADamagedFrame", opens_then([](ScriptedSource& source) {
         auto frame = wire::encode(wire::Prepare{});
         frame[10] ^= std::byte{1};
         source.control().say(frame);
       }),
       integrity, "its checksum differs"},
      {"SendsPagesOutsideItsMemory", opens_then([](ScriptedSource& source) {
         source.zeros(1, {0, k_all.length, k_unit_bytes});
       }),
       protocol, "in region 0"},
      {"SendsPagesOfAnotherRound", opens_then([](ScriptedSource& source) {
         source.round = 1;
         source.zeros(1, k_all);
       }),
       protocol, "a packet of round 1 in round 0"},
      {"SendsPagesAfterTheLastRound",
       prepares_then([](ScriptedSource& source) { source.zeros(1, k_all); }), protocol,
       "a packet after the last round"},
      {"EndsBeforeItsTime", opens_then([](ScriptedSource& source) { source.control().finish(); }),
       disconnected, "it ended before its time"},
  };
}

std::vector<Hostility> wrong_proof() {
  using enum Errc;
  const auto prepares = [](wire::Prepare prepare) {
    return [prepare](ScriptedSource& source) {
      wire::Prepare with_transcript = prepare;
      with_transcript.transcript = source.transcript();
      source.control().say(with_transcript);
    };
  };
  return {
      {"ForgesItsTranscript", sends_all_then([](ScriptedSource& source) {
         wire::Transcript transcript = source.transcript();
         transcript.lanes[1].headers ^= 1;
         source.control().say(wire::Prepare{.transcript = transcript});
       }),
       integrity, "differs from ours"},
      {"ForgetsALane", sends_all_then([](ScriptedSource& source) {
         wire::Transcript transcript = source.transcript();
         transcript.lanes.pop_back();
         source.control().say(wire::Prepare{.transcript = transcript});
       }),
       integrity, "differs from ours"},
      {"LeavesAPageOut", opens_then([](ScriptedSource& source) {
         source.zeros(0, {0, 0, k_all.length - k_unit_bytes});
         source.end_round(0);
         source.end_round(1);
         source.control().hear<wire::RoundAck>();
         source.control().say(wire::Prepare{.transcript = source.transcript()});
       }),
       integrity, "9 units of memory are here"},
      {"HasAnotherDigest", sends_all_then(prepares({.digests = {wire::Digest{}}})), integrity,
       "its digest differs from the sender's"},
      {"HasADigestTooMany", sends_all_then(prepares({.digests = {wire::Digest{}, wire::Digest{}}})),
       protocol, "the number of digests"},
      {"CommitsSomethingElse", prepares_then([](ScriptedSource& source) {
         wire::Transcript transcript = source.transcript();
         transcript.lanes[0].packets += 1;
         source.control().say(wire::Commit{.transcript = transcript});
       }),
       protocol, "what was prepared"},
  };
}

class HostileSender : public testing::TestWithParam<Hostility> {};

TEST_P(HostileSender, IsToldWhyAndStartsNoGuest) {
  const auto runtime = runtime_of_all_transports();
  MemorySource memory(layout());
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  {
    ScriptedSource source(*runtime, receiving.uri());
    GetParam().act(source, memory);
    const auto abort = source.control().hear<wire::Abort>();
    EXPECT_EQ(abort.code, GetParam().code);
    EXPECT_THAT(abort.text, HasSubstr(GetParam().text));
    EXPECT_TRUE(source.control().hear_the_end()) << "an end, and no reset";
  }
  const Outcome received = receiving.outcome();
  ASSERT_TRUE(received.why_not);
  EXPECT_EQ(received.why_not->code, GetParam().code);
  EXPECT_THAT(why_not(received), HasSubstr(GetParam().text));
  EXPECT_EQ(received.owner, Owner::source);
  EXPECT_EQ(to.starts(), 0u);
}

const auto k_name = [](const auto& test) { return test.param.name; };
INSTANTIATE_TEST_SUITE_P(Order, HostileSender, testing::ValuesIn(wrong_order()), k_name);
INSTANTIATE_TEST_SUITE_P(Words, HostileSender, testing::ValuesIn(wrong_words()), k_name);
INSTANTIATE_TEST_SUITE_P(Proof, HostileSender, testing::ValuesIn(wrong_proof()), k_name);

TEST(ForeignSender, MayUseFramesThatAreUnknownAndOptional) {
  const auto runtime = runtime_of_all_transports();
  MemorySource memory(layout());
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  ScriptedSource source(*runtime, receiving.uri());
  source.open(layout(), 2);
  source.control().say(wire::sealed("FRYC", [](ByteWriter& out) {
    out.u16(wire::k_optional_frame | 77);
    out.u64(5);
  }));
  source.send_all(memory.mappings());
  source.prepare();
  source.commit();
  source.control().finish();
  const Outcome received = receiving.outcome();
  EXPECT_TRUE(received.ok()) << why_not(received);
  EXPECT_TRUE(identical(memory, to));
}

TEST(ForeignSender, MayTakeAnyNumberOfRounds) {
  const auto runtime = runtime_of_all_transports();
  MemorySource memory(layout());
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  ScriptedSource source(*runtime, receiving.uri());
  source.open(layout(), 2);
  for (int round = 0; round < 50; ++round) source.send_all(memory.mappings());
  source.prepare();
  source.commit();
  source.control().finish();
  const Outcome received = receiving.outcome();
  EXPECT_TRUE(received.ok()) << why_not(received);
  EXPECT_EQ(received.report.rounds, 50u);
  EXPECT_TRUE(identical(memory, to));
}

TEST(HostileSenderAfterTheCommit, CannotKeepTheReceiverByTalkingOn) {
  const auto runtime = runtime_of_all_transports();
  MemorySource memory(layout());
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  ScriptedSource source(*runtime, receiving.uri());
  source.open(layout(), 2);
  source.send_all(memory.mappings());
  source.prepare();
  source.commit();
  for (int i = 0; i < 1000 && source.control().say(wire::RoundAck{}); ++i) {
  }
  const Outcome received = receiving.outcome();
  EXPECT_TRUE(received.ok()) << why_not(received);
  EXPECT_EQ(received.owner, Owner::destination);
}

}  // namespace
}  // namespace ferry::test
