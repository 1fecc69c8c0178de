#include "session/conversation.h"

#include <gtest/gtest.h>

#include <string>

#include "channels/buffer.h"
#include "multifd/link.h"
#include "tests/session/migration.h"
#include "tests/session/peer.h"

namespace ferry::test {
namespace {

Conversation::Role quiet_role() {
  return {.peer = "the receiver",
          .intercept = [](const wire::ControlFrame&) -> Result<bool> { return false; },
          .packet = {},
          .heartbeat = [] { return wire::Heartbeat{}; },
          .progress = [](const wire::Heartbeat&) { return Progress{}; },
          .cut = [](Errc) {}};
}

struct Talk {
  std::unique_ptr<Runtime> runtime = runtime_of_all_transports();
  Peer peer;
  Conversation conversation;
  std::stop_source stop;

  Talk() : Talk(make_buffer_pair()) {}

 private:
  explicit Talk(std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>> line)
      : peer(std::move(line.first)),
        conversation(runtime->loop(), std::move(line.second), quiet_role(),
                     std::chrono::seconds(30), {}) {
    EXPECT_TRUE(conversation.start(stop.get_token()));
  }
};

TEST(Conversation, HandsOnTheFramesInTheirOrder) {
  Talk talk;
  talk.peer.say(wire::LayoutAck{});
  talk.peer.say(wire::Heartbeat{});
  talk.peer.say(wire::RoundAck{7});
  EXPECT_TRUE(talk.conversation.expect<wire::LayoutAck>());
  EXPECT_EQ(talk.conversation.expect<wire::RoundAck>().value().round, 7u);
}

TEST(Conversation, RepeatsTheFirstFailureToWhoeverAsks) {
  Talk talk;
  talk.conversation.fail({Errc::guest, 0, "first", {}});
  talk.conversation.fail({Errc::system, 0, "second", {}});
  EXPECT_EQ(talk.conversation.next().error().context, "first");
  EXPECT_EQ(talk.conversation.send(wire::LayoutAck{}).error().context, "first");
  EXPECT_EQ(talk.conversation.pass_point_of_no_return().error().context, "first");
  EXPECT_EQ(talk.conversation.give_up({Errc::usage, 0, "third", {}}).context, "first");
  EXPECT_EQ(talk.peer.hear<wire::Abort>().text, "first");
}

TEST(Conversation, HearsThePeersReasonForALineThatWasCut) {
  Talk talk;
  talk.conversation.fail({Errc::disconnected, 0, "cut", {}});
  talk.peer.say(wire::Abort{.code = Errc::system, .text = "the disk is full"});
  const Error error = talk.conversation.give_up({Errc::disconnected, 0, "cut", {}});
  EXPECT_EQ(error.context, "the receiver failed: the disk is full");
}

TEST(Conversation, KeepsItsOwnReasonWhereThePeersIsAConsequence) {
  Talk talk;
  talk.conversation.fail({Errc::guest, 0, "no memory", {}});
  talk.peer.say(wire::Abort{.code = Errc::disconnected, .text = "cut"});
  EXPECT_EQ(talk.conversation.give_up({Errc::usage, 0, "late", {}}).context, "no memory");
}

TEST(Conversation, IsNotEndedByAStopRequestAfterThePointOfNoReturn) {
  Talk talk;
  EXPECT_TRUE(talk.conversation.pass_point_of_no_return());
  talk.stop.request_stop();
  EXPECT_TRUE(talk.conversation.send(wire::LayoutAck{}));
}

TEST(Conversation, EndsAlthoughThePeerHasSaidMoreThanAnybodyWantsToHear) {
  Talk talk;
  for (int i = 0; i < 200; ++i) talk.peer.say(wire::RoundAck{});
  talk.conversation.conclude(wire::Started{});
  talk.conversation.end();
  talk.peer.hear<wire::Started>();
}

TEST(Conversation, CanBeDestroyedInTheMiddleOfAFlood) {
  Talk talk;
  for (int i = 0; i < 200; ++i) talk.peer.say(wire::RoundAck{});
}

TEST(Link, WritesNothingAfterItHasFinished) {
  auto [ours, theirs] = make_buffer_pair();
  Liveness liveness;
  Link link(std::move(ours), liveness);
  Peer peer(std::move(theirs));
  EXPECT_TRUE(link.send(wire::LayoutAck{}));
  EXPECT_TRUE(link.finish());
  EXPECT_FALSE(link.send(wire::Heartbeat{})) << "a heartbeat may be late";
  EXPECT_TRUE(peer.hear_any());
  EXPECT_FALSE(peer.hear_any());
}

}  // namespace
}  // namespace ferry::test
