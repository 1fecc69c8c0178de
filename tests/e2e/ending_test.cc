// Transfers that end in their middle: nothing half stays, and each side says why.
#include <signal.h>

#include "tests/e2e/relay.h"
#include "tests/e2e/scene.h"

namespace ferry {
namespace {

using testing::IsEmpty;

/// An image larger than all the buffers on the way, and a network that stops after its first
/// megabytes.
class Ending : public EndToEnd {
 protected:
  Ending() { EXPECT_TRUE(relay_.wait_until_held()); }

  void expect_ends(int sender, int receiver) {
    EXPECT_EQ(sender_.wait(), sender) << sender_.err();
    EXPECT_EQ(receiver_.process.wait(), receiver) << receiver_.process.err();
    EXPECT_THAT(output_.names(), IsEmpty());
  }

  const std::string image_ = random_image("a.img", 96 * k_mib);
  Receiver receiver_{{"-o", output_ / "out.img", "tcp://127.0.0.1:0"}};
  HoldingRelay relay_{receiver_.port(), 4 * k_mib};
  Process sender_ = migrate_send({image_, relay_.uri()});
};

TEST_F(Ending, ARelayThatLetsGoHarmsNothing) {
  relay_.release();
  EXPECT_EQ(sender_.wait(), 0) << sender_.err();
  EXPECT_EQ(receiver_.process.wait(), 0) << receiver_.process.err();
  expect_same(image_, output_ / "out.img");
}

TEST_F(Ending, NothingHasAnyNameWhileItIsOnItsWay) { EXPECT_THAT(output_.names(), IsEmpty()); }

TEST_F(Ending, CtrlCAtTheSenderEndsBoth) {
  sender_.signal(SIGINT);
  expect_ends(6, 7);
}

TEST_F(Ending, CtrlCAtTheReceiverEndsBoth) {
  receiver_.process.signal(SIGINT);
  expect_ends(7, 6);
}

TEST_F(Ending, ATerminatedSenderEndsBoth) {
  sender_.signal(SIGTERM);
  expect_ends(6, 7);
}

TEST_F(Ending, ATerminatedReceiverEndsBoth) {
  receiver_.process.signal(SIGTERM);
  expect_ends(7, 6);
}

TEST_F(Ending, ASenderThatIsKilledEndsTheReceiver) {
  sender_.signal(SIGKILL);
  expect_ends(-SIGKILL, 7);
}

TEST_F(Ending, AReceiverThatIsKilledEndsTheSenderAndLeavesNothing) {
  receiver_.process.signal(SIGKILL);
  expect_ends(7, -SIGKILL);
}

class Waiting : public EndToEnd {};

TEST_F(Waiting, CtrlCEndsAReceiverThatNobodyCameTo) {
  Receiver receiver({"-o", output_ / "out.img", "tcp://127.0.0.1:0"});
  receiver.process.signal(SIGINT);
  EXPECT_EQ(receiver.process.wait(), 6);
  EXPECT_THAT(output_.names(), IsEmpty());
}

TEST_F(Waiting, ASocketsPathGoesWithItsReceiver) {
  Receiver receiver({"-o", output_ / "out.img", "unix://" + (source_ / "socket").native()});
  EXPECT_FALSE(source_.names().empty());
  receiver.process.signal(SIGINT);
  EXPECT_EQ(receiver.process.wait(), 6);
  EXPECT_THAT(source_.names(), IsEmpty());
}

TEST_F(Waiting, WhatWasIgnoredFromTheStartStaysIgnored) {
  const std::string image = random_image("a.img", k_mib);
  Process receiver({"/bin/sh", "-c", R"(trap "" HUP; exec "$@")", "sh", MIGRATE_RECV, "-o",
                    output_ / "out.img", "unix://" + (source_ / "socket").native()});
  ASSERT_TRUE(receiver.read_until(receiver.out(), [](auto& text) { return text.contains('\n'); }));
  receiver.signal(SIGHUP);
  Process sender = migrate_send({image, "unix://" + (source_ / "socket").native()});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.wait(), 0) << receiver.err();
}

}  // namespace
}  // namespace ferry
