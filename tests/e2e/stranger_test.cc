// Peers that nobody asked for, beside a transfer that they must not harm.
#include <sys/socket.h>

#include "tests/e2e/relay.h"
#include "tests/e2e/scene.h"

namespace ferry {
namespace {

class Stranger : public EndToEnd {
 protected:
  void expect_success(Process& sender) {
    EXPECT_EQ(sender.wait(), 0) << sender.err();
    EXPECT_EQ(receiver_.process.wait(), 0) << receiver_.process.err();
    expect_same(image_, output_ / "out.img");
  }
  static void say_http(const UniqueFd& stranger) {
    const std::string_view request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    EXPECT_EQ(::send(stranger.get(), request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<::ssize_t>(request.size()));
  }
  /// Blocks until the receiver has sent this peer away.
  static void expect_sent_away(const UniqueFd& stranger) {
    char word = 0;
    while (::recv(stranger.get(), &word, 1, 0) > 0) {
    }
  }

  const std::string image_ = random_image("a.img", 96 * k_mib);
  Receiver receiver_{{"-o", output_ / "out.img", "tcp://127.0.0.1:0"}};
};

TEST_F(Stranger, WhoComesFirstAndSpeaksHttpIsSentAway) {
  const UniqueFd stranger = connect_to(receiver_.port());
  say_http(stranger);
  expect_sent_away(stranger);
  Process sender = migrate_send({image_, receiver_.uri});
  expect_success(sender);
}

TEST_F(Stranger, WhoComesFirstAndSaysNothingKeepsNobodyWaiting) {
  const UniqueFd silent = connect_to(receiver_.port());
  ASSERT_TRUE(silent);
  Process sender = migrate_send({image_, receiver_.uri});
  expect_success(sender);
}

TEST_F(Stranger, WhoComesInTheMiddleHarmsNothing) {
  HoldingRelay relay(receiver_.port(), 4 * k_mib);
  Process sender = migrate_send({image_, relay.uri()});
  ASSERT_TRUE(relay.wait_until_held());
  const UniqueFd silent = connect_to(receiver_.port());
  const UniqueFd stranger = connect_to(receiver_.port());
  say_http(stranger);
  expect_sent_away(stranger);
  relay.release();
  expect_success(sender);
}

TEST_F(Stranger, ASecondSenderIsRefusedAndTheFirstOneSucceeds) {
  HoldingRelay relay(receiver_.port(), 4 * k_mib);
  Process sender = migrate_send({image_, relay.uri()});
  ASSERT_TRUE(relay.wait_until_held());
  Process second = migrate_send({image_, receiver_.uri});
  EXPECT_EQ(second.wait(), 4) << second.err();
  EXPECT_EQ(lines_of(second.err()).size(), 1u) << second.err();
  relay.release();
  expect_success(sender);
}

}  // namespace
}  // namespace ferry
