// The other side is python3-websockets, which knows nothing of Ferry.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "channels/websocket.h"
#include "tests/channels/io.h"
#include "tests/channels/loop_thread.h"
#include "tests/e2e/process.h"

namespace ferry::test {
namespace {

constexpr const char* k_python = "/usr/bin/python3";

bool has_line(const std::string& text) { return text.contains('\n'); }

class WebsocketInterop : public testing::Test {
 protected:
  void SetUp() override {
    Process probe({k_python, "-c", "import websockets"});
    if (probe.wait() != 0) GTEST_SKIP() << "no python3-websockets here: " << probe.err();
  }

  LoopThread runner_;
  const std::unique_ptr<Transport> ws_ = make_ws_transport();
};

TEST_F(WebsocketInterop, AServerOfAnotherMakeEchoesAllThatItIsSent) {
  Process server({k_python, WEBSOCKET_PEER, "serve"});
  ASSERT_TRUE(server.read_until(server.out(), has_line)) << server.err();
  const Uri to =
      Uri::parse("ws://127.0.0.1:" + server.out().substr(0, server.out().find('\n'))).value();
  auto channel = runner_.run(ws_->connect(runner_.loop(), to));
  ASSERT_TRUE(channel) << channel.error().text();
  const std::string sent = noise(1'500'000, 7);
  std::jthread writer([&] {
    EXPECT_TRUE((*channel)->write(pieces_of(sent, 333'333)));
    EXPECT_TRUE((*channel)->finish());
  });
  const auto got = read_all(**channel, sent.size() + 1);
  writer.join();
  EXPECT_TRUE(got && *got == sent);
  EXPECT_EQ(read_once(**channel), "");
  channel->reset();
  EXPECT_EQ(server.wait(), 0) << server.err();
  EXPECT_THAT(server.out(), testing::HasSubstr("closed with 1000\n"));
}

Task<std::unique_ptr<Channel>> accept_one(std::unique_ptr<Listener>& listener) {
  co_return co_await listener->accept();
}

TEST_F(WebsocketInterop, AClientOfAnotherMakeHasItsFragmentsEchoedAndItsPingsAnswered) {
  auto listener = runner_.run(ws_->listen(runner_.loop(), Uri::parse("ws://127.0.0.1:0").value()));
  ASSERT_TRUE(listener);
  Process client({k_python, WEBSOCKET_PEER, "connect", std::to_string((*listener)->local().port)});
  auto channel = runner_.run(accept_one(*listener));
  ASSERT_TRUE(channel) << channel.error().text();
  for (;;) {
    const auto got = read_once(**channel);
    ASSERT_TRUE(got) << got.error().text();
    if (got->empty()) break;
    ASSERT_TRUE(write_all(**channel, *got));
  }
  ASSERT_TRUE((*channel)->finish());
  EXPECT_EQ(client.wait(), 0) << client.err();
  EXPECT_EQ(client.out(), "same\n");
}

}  // namespace
}  // namespace ferry::test
