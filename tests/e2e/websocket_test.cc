// WebSocket: through a real proxy, against its limits, and with peers that are not Ferry.
#include <algorithm>

#include "ferry/uri.h"
#include "tests/e2e/certificates.h"
#include "tests/e2e/nginx.h"
#include "tests/e2e/relay.h"
#include "tests/e2e/scene.h"

namespace ferry {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Websocket : public EndToEnd {
 protected:
  const std::string image_ = random_image("a.img", 24 * k_mib + 5);
};

TEST_F(Websocket, CarriesAnImageOverSeveralChannels) {
  transfer({image_}, output_ / "out.img", {"--channels", "3"}, {}, "ws://127.0.0.1:0/a%20path");
  expect_same(image_, output_ / "out.img");
}

TEST_F(Websocket, IsNotEncryptedAndSaysSo) {
  Receiver receiver({"-o", output_ / "out.img", "ws://127.0.0.1:0"});
  Process sender = migrate_send({image_, receiver.uri});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_THAT(sender.err(), HasSubstr("ws is not encrypted"));
}

TEST_F(Websocket, OverTlsHasAKeyInItsAddress) {
  Receiver receiver({"-o", output_ / "out.img", "wss://127.0.0.1:0/ferry"});
  EXPECT_THAT(receiver.uri, testing::ContainsRegex("^wss://127.0.0.1:[0-9]+/ferry\\?key="));
  Process sender = migrate_send({image_, receiver.uri, "--channels", "2"});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
  expect_same(image_, output_ / "out.img");
  EXPECT_THAT(sender.out(), HasSubstr(", encrypted"));
}

TEST_F(Websocket, AnotherPathIsRefusedInWords) {
  Receiver receiver({"-o", output_ / "out.img", "ws://127.0.0.1:0/ferry"});
  Process sender =
      migrate_send({image_, "ws://127.0.0.1:" + std::to_string(receiver.port()) + "/other"});
  EXPECT_EQ(sender.wait(), 4) << sender.err();
  EXPECT_THAT(sender.err(), HasSubstr("it answered 404 Not Found"));
  EXPECT_EQ(lines_of(sender.err()).size(), 1u) << sender.err();
}

TEST_F(Websocket, WhoSpeaksPlainTcpHarmsNothing) {
  Receiver receiver({"-o", output_ / "out.img", "ws://127.0.0.1:0"});
  const UniqueFd silent = connect_to(receiver.port());
  Process plain = migrate_send({image_, "tcp://127.0.0.1:" + std::to_string(receiver.port())});
  EXPECT_EQ(plain.wait(), 7) << plain.err();
  Process sender = migrate_send({image_, receiver.uri});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
}

TEST_F(Websocket, AHeaderThatIsNoneIsAUsageErrorThatTellsNoSecret) {
  for (const char* header : {"no colon", "bad name: secret", "Host: secret",
                             "Sec-WebSocket-Key: secret", "X: se\ncret"}) {
    Process sender = migrate_send({image_, "ws://127.0.0.1:1", "--ws-header", header});
    EXPECT_EQ(sender.wait(), 2) << sender.err();
    EXPECT_THAT(sender.err(), Not(HasSubstr("secret")));
    EXPECT_THAT(sender.err(), HasSubstr("eader"));
  }
}

/// Between a receiver that speaks ws, and a sender, who may have to speak wss.
class BehindNginx : public Websocket {
 protected:
  void start(Nginx::Ends ends, const std::string& settings = {}, Words options = {}) {
    options.insert(options.end(), {"-o", output_ / "out.img", "ws://127.0.0.1:0/ferry"});
    receiver_.emplace(options);
    nginx_.emplace(receiver_->port(), ends, settings);
    if (!nginx_->running() && nginx_->why_not().starts_with("there is no")) {
      GTEST_SKIP() << nginx_->why_not();
    }
    ASSERT_TRUE(nginx_->running()) << nginx_->why_not();
    Certificates::fill(authority_, "", "");
  }
  Process send(Words options = {}) {
    options.insert(options.begin(), {image_, nginx_->uri()});
    return migrate_send(options);
  }
  void expect_done(Process& sender) {
    EXPECT_EQ(sender.wait(), 0) << sender.err() << nginx_->log();
    EXPECT_EQ(receiver_->process.wait(), 0) << receiver_->process.err();
    expect_same(image_, output_ / "out.img");
  }

  TempFolder authority_;
  std::optional<Receiver> receiver_;
  std::optional<Nginx> nginx_;
};

TEST_F(BehindNginx, AnImageArrivesOverSeveralChannels) {
  ASSERT_NO_FATAL_FAILURE(start(Nginx::Ends::nothing));
  if (IsSkipped()) return;
  Process sender = send({"--channels", "3", "--verify", "full"});
  expect_done(sender);
}

TEST_F(BehindNginx, TlsMayEndAtTheProxy) {
  ASSERT_NO_FATAL_FAILURE(start(Nginx::Ends::tls));
  if (IsSkipped()) return;
  Process sender = send({"--channels", "3", "--tls-dir", authority_.path()});
  expect_done(sender);
  EXPECT_THAT(sender.out(), HasSubstr(", encrypted"));
}

TEST_F(BehindNginx, AnIngressThatWantsAHeaderGetsIt) {
  ASSERT_NO_FATAL_FAILURE(
      start(Nginx::Ends::nothing, "if ($http_authorization != 'Bearer of news') { return 403; }"));
  if (IsSkipped()) return;
  Process stranger = send();
  EXPECT_EQ(stranger.wait(), 4);
  EXPECT_THAT(stranger.err(), HasSubstr("it answered 403 Forbidden"));
  Process sender =
      send({"--ws-header", "X-First: 1", "--ws-header", "Authorization: Bearer of news"});
  expect_done(sender);
}

TEST_F(BehindNginx, AProxyWhoseReceiverIsGoneSaysSo) {
  ASSERT_NO_FATAL_FAILURE(start(Nginx::Ends::nothing));
  if (IsSkipped()) return;
  receiver_->process.signal(SIGKILL);
  receiver_->process.wait();
  Process sender = send();
  EXPECT_EQ(sender.wait(), 3) << sender.err();
  EXPECT_THAT(sender.err(), HasSubstr("it answered 502 Bad Gateway"));
}

// The image waits for its bandwidth: pages come seldom, and only heartbeats pass on the control
// channel.
TEST_F(BehindNginx, HeartbeatsKeepALineThatAProxyWouldCut) {
  ASSERT_NO_FATAL_FAILURE(start(Nginx::Ends::nothing, "proxy_read_timeout 3s;"));
  if (IsSkipped()) return;
  Process sender = send({"--channels", "1", "--max-bandwidth", "6MiB/s"});
  expect_done(sender);
}

TEST_F(BehindNginx, ALineThatTheProxyCutsIsAFailureInWords) {
  ASSERT_NO_FATAL_FAILURE(start(Nginx::Ends::nothing, "proxy_read_timeout 300ms;"));
  if (IsSkipped()) return;
  Process sender = send({"--channels", "1", "--max-bandwidth", "64KiB/s"});
  EXPECT_EQ(sender.wait(), 7) << sender.err();
  EXPECT_EQ(receiver_->process.wait(), 7) << receiver_->process.err();
  EXPECT_THAT(sender.err(), HasSubstr("a proxy on the way may have a time-out or a limit"));
  EXPECT_THAT(output_.names(), IsEmpty());
}

TEST_F(BehindNginx, ASmallBufferOfTheProxyIsOnlySlow) {
  ASSERT_NO_FATAL_FAILURE(start(Nginx::Ends::nothing,
                                "proxy_buffer_size 1k; proxy_buffers 2 1k; "
                                "proxy_busy_buffers_size 1k;"));
  if (IsSkipped()) return;
  Process sender = send({"--channels", "2"});
  expect_done(sender);
}

}  // namespace
}  // namespace ferry
