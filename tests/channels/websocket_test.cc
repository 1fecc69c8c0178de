// WebSocket over lines that a test holds in its hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "channels/buffer.h"
#include "channels/socket_channel.h"
#include "channels/websocket.h"
#include "channels/websocket_upgrade.h"
#include "tests/channels/io.h"
#include "tests/channels/loop_thread.h"

namespace ferry::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

/// A frame as a client sends it. Its mask is zeros, so that the payload stays readable.
std::string frame(unsigned char first, std::string_view payload) {
  std::string text{static_cast<char>(first)};
  if (payload.size() < 126) {
    text += static_cast<char>(0x80 | payload.size());
  } else {
    text += static_cast<char>(0x80 | 126);
    text += {static_cast<char>(payload.size() >> 8), static_cast<char>(payload.size() & 0xff)};
  }
  return text + std::string(4, '\0') + std::string(payload);
}

constexpr unsigned char k_binary = 0x82;
constexpr unsigned char k_part = 0x02;
constexpr unsigned char k_continued = 0x00;
constexpr unsigned char k_last_part = 0x80;
constexpr unsigned char k_text = 0x81;
constexpr unsigned char k_close = 0x88;
constexpr unsigned char k_ping = 0x89;
constexpr unsigned char k_pong = 0x8a;

constexpr std::string_view k_request =
    "GET /ferry HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// What a server says before it listens to frames, to the end of its head.
std::string head_of(Channel& line) {
  std::string head;
  while (!head.ends_with("\r\n\r\n")) {
    const auto byte = read_once(line, 1);
    if (!byte || byte->empty()) break;
    head += *byte;
  }
  return head;
}

/// A server of ours, and its line to a client that the test plays.
class WebsocketServer : public testing::Test {
 protected:
  void SetUp() override {
    auto pair = make_socket_pair();
    ASSERT_TRUE(pair);
    client_ = std::move(pair->first);
    server_line_ = std::move(pair->second);
  }

  Result<std::unique_ptr<Channel>> answer(std::string_view request,
                                          std::chrono::milliseconds ping_after = k_ping_after) {
    EXPECT_TRUE(write_all(*client_, request));
    auto engine = WebsocketEngine::server(WebsocketEngine::make_context(), "/ferry");
    Task<std::unique_ptr<Channel>> task = upgrade(runner_.loop(), std::move(server_line_),
                                                  std::move(engine), "ws://client:1", ping_after);
    return runner_.run(std::move(task));
  }
  std::unique_ptr<Channel> open(std::chrono::milliseconds ping_after = k_ping_after) {
    auto server = answer(k_request, ping_after);
    EXPECT_TRUE(server) << server.error().text();
    EXPECT_THAT(head_of(*client_),
                AllOf(StartsWith("HTTP/1.1 101 Switching Protocols\r\n"),
                      HasSubstr("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")));
    return server ? std::move(*server) : nullptr;
  }

  LoopThread runner_;
  std::unique_ptr<Channel> client_;
  std::unique_ptr<Channel> server_line_;
};

struct NoRequest {
  std::string name;
  std::string request;
  std::string answer;
  friend void PrintTo(const NoRequest& test, std::ostream* out) { *out << test.name; }
};

class WebsocketRefusal : public WebsocketServer, public testing::WithParamInterface<NoRequest> {};

TEST_P(WebsocketRefusal, IsSaidInHttp) {
  auto pair = make_socket_pair();
  std::string said;
  std::jthread client([&] {
    if (const auto all = read_all(*client_, 100'000)) said = *all;
    EXPECT_TRUE(client_->finish());
  });
  const auto server = answer(GetParam().request);
  client.join();
  EXPECT_EQ(code_of(server), Errc::protocol);
  EXPECT_THAT(said, StartsWith("HTTP/1.1 " + GetParam().answer));
}

INSTANTIATE_TEST_SUITE_P(
    Of, WebsocketRefusal,
    testing::Values(
        NoRequest{"APlainRequest", "GET /ferry HTTP/1.1\r\nHost: a\r\n\r\n",
                  "426 Upgrade Required"},
        NoRequest{"AnotherPath", "GET /other HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found"},
        NoRequest{"APost", "POST /ferry HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
                  "426 Upgrade Required"},
        NoRequest{"WhatIsNoHttp", "FRRY\x01\x02\x03\r\n\r\n", "400 Bad Request"},
        NoRequest{"AnOldVersion",
                  "GET /ferry HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                  "Sec-WebSocket-Version: 8\r\n\r\n",
                  "426 Upgrade Required"},
        NoRequest{"NoKey",
                  "GET /ferry HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Version: 13\r\n\r\n",
                  "400 Bad Request"},
        NoRequest{"AHeadWithoutEnd", "GET /ferry HTTP/1.1\r\nX: " + std::string(20'000, 'x'),
                  "431 Request Header Fields Too Large"}),
    [](const auto& test) { return test.param.name; });

/// What a server of ours answers to a client that offers these subprotocols.
class WebsocketSubprotocol : public WebsocketServer,
                             public testing::WithParamInterface<std::pair<std::string, bool>> {};

TEST_P(WebsocketSubprotocol, IsOursOrNone) {
  const auto& [offered, ours] = GetParam();
  std::string request(k_request.substr(0, k_request.size() - 2));
  ASSERT_TRUE(answer(request + offered + "\r\n"));
  EXPECT_EQ(head_of(*client_).contains("Sec-WebSocket-Protocol: ferry.v1\r\n"), ours);
}

INSTANTIATE_TEST_SUITE_P(
    Of, WebsocketSubprotocol,
    testing::Values(std::pair{"Sec-WebSocket-Protocol: ferry.v1\r\n", true},
                    std::pair{"Sec-WebSocket-Protocol: chat ,\tferry.v1 , more\r\n", true},
                    std::pair{"Sec-WebSocket-Protocol: chat\r\n"
                              "Sec-WebSocket-Protocol: ferry.v1\r\n",
                              true},
                    std::pair{"Sec-WebSocket-Protocol: ferry.v10, my-ferry.v1\r\n", false},
                    std::pair{"", false}));

TEST_F(WebsocketServer, FragmentsAreBytesWhateverComesBetweenThem) {
  const auto server = open();
  ASSERT_TRUE(write_all(*client_, frame(k_part, "one ") + frame(k_ping, "?") +
                                      frame(k_continued, "") + frame(k_continued, "two ") +
                                      frame(k_pong, "") + frame(k_last_part, "") +
                                      frame(k_binary, "three") + frame(k_binary, "")));
  EXPECT_EQ(read_all(*server, 100), "one two three");
  EXPECT_EQ(read_once(*server), "");
}

TEST_F(WebsocketServer, APingIsAnsweredByTheReaderAlone) {
  const auto server = open();
  ASSERT_TRUE(write_all(*client_, frame(k_ping, "are you there?") + frame(k_binary, "x")));
  EXPECT_EQ(read_once(*server), "x");
  EXPECT_EQ(read_all(*client_, 16),
            "\x8a\x0e"
            "are you there?");
}

TEST_F(WebsocketServer, AReaderThatWaitsSendsPings) {
  const auto server = open(std::chrono::milliseconds(1));
  BlockedThread reader([&] { read_once(*server); });
  EXPECT_EQ(read_all(*client_, 4), std::string("\x89\0\x89\0", 4));
  ASSERT_TRUE(write_all(*client_, frame(k_binary, "x")));
  reader.join();
}

TEST_F(WebsocketServer, TheEndOfTheLineIsNotTheEndOfTheBytes) {
  const auto server = open();
  ASSERT_TRUE(write_all(*client_, frame(k_binary, "x")));
  ASSERT_TRUE(client_->finish());
  EXPECT_EQ(read_once(*server), "x");
  const auto end = read_once(*server);
  EXPECT_EQ(code_of(end), Errc::disconnected);
  EXPECT_THAT(text_of(end), HasSubstr("it was cut"));
}

TEST_F(WebsocketServer, ACloseIsAFinishOrAFailureByItsCode) {
  auto server = open();
  ASSERT_TRUE(write_all(*client_, frame(k_close, "\x03\xe8")));
  EXPECT_EQ(read_once(*server), "");
  EXPECT_EQ(read_all(*client_, 4), "\x88\x02\x03\xe8");
  EXPECT_EQ(code_of(write_all(*server, "x")), Errc::disconnected);

  SetUp();
  server = open();
  ASSERT_TRUE(write_all(*client_, frame(k_close,
                                        "\x03\xf3"
                                        "too tired")));
  const auto end = read_once(*server);
  EXPECT_EQ(code_of(end), Errc::disconnected);
  EXPECT_THAT(text_of(end), HasSubstr("closed the WebSocket with code 1011 'too tired'"));
}

struct BadFrame {
  std::string name;
  std::string bytes;
  friend void PrintTo(const BadFrame& test, std::ostream* out) { *out << test.name; }
};

class WebsocketFrames : public WebsocketServer, public testing::WithParamInterface<BadFrame> {};

TEST_P(WebsocketFrames, AgainstTheRulesEndTheLine) {
  const auto server = open();
  ASSERT_TRUE(write_all(*client_, GetParam().bytes));
  const auto read = read_once(*server);
  EXPECT_EQ(code_of(read), Errc::protocol) << text_of(read);
  EXPECT_THAT(text_of(read), StartsWith("read from ws://client:1: "));
}

INSTANTIATE_TEST_SUITE_P(
    Sent, WebsocketFrames,
    testing::Values(BadFrame{"WithoutAMask", "\x82\x01x"},
                    BadFrame{"WithAReservedBit", frame(0xc2, "x")},
                    BadFrame{"WithAReservedOpcode", frame(0x83, "x")},
                    BadFrame{"ThatContinueNothing", frame(k_last_part, "x")},
                    BadFrame{"ThatBeginInTheMiddle", frame(k_part, "") + frame(k_binary, "x")},
                    BadFrame{"OfControlInParts", frame(0x09, "x")},
                    BadFrame{"OfControlThatAreLong", frame(k_ping, std::string(126, 'x'))},
                    BadFrame{"OfText", frame(k_text, "x")},
                    BadFrame{"OfMoreThanAnyMessageMayHave",
                             std::string("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14)}),
    [](const auto& test) { return test.param.name; });

TEST_F(WebsocketServer, APeerThatAsksAndReadsNoAnswersIsSentAway) {
  const auto server = open();
  std::jthread client([&] {
    const std::string pings = [] {
      std::string many;
      for (int i = 0; i < 1000; ++i) many += frame(k_ping, std::string(125, '?'));
      return many;
    }();
    while (write_all(*client_, pings)) {
    }
  });
  const auto read = read_once(*server);
  EXPECT_EQ(code_of(read), Errc::protocol);
  EXPECT_THAT(text_of(read), HasSubstr("reads no answers"));
  server->cancel();
}

/// A client of ours, and its line to a server that the test plays.
class WebsocketClient : public testing::Test {
 protected:
  /// What comes of this answer.
  Result<std::unique_ptr<Channel>> ask(const std::string& answer,
                                       std::vector<WebsocketHeader> headers = {}) {
    auto pair = make_socket_pair();
    server_ = std::move(pair->second);
    std::jthread server([&] {
      request_ = head_of(*server_);
      EXPECT_TRUE(write_all(*server_, answer));
      EXPECT_TRUE(server_->finish());
      (void)drain(*server_);
    });
    WebsocketEngine::Client asks{"node7:4446", "/ferry", std::move(headers)};
    auto engine = WebsocketEngine::client(WebsocketEngine::make_context(), std::move(asks));
    auto channel = runner_.run(upgrade(runner_.loop(), std::move(pair->first), std::move(engine),
                                       "ws://node7:4446/ferry"));
    return channel;
  }

  LoopThread runner_;
  std::unique_ptr<Channel> server_;
  std::string request_;
};

TEST_F(WebsocketClient, SaysWhomItAsksAndWhatItWasToldToSay) {
  (void)ask("",
            {{"Authorization", "Bearer of news"}, {"X-Empty", ""}, {"X-Two", "1"}, {"X-Two", "2"}});
  EXPECT_THAT(request_,
              AllOf(StartsWith("GET /ferry HTTP/1.1\r\nHost: node7:4446\r\n"),
                    HasSubstr("\r\nUpgrade: websocket\r\n"),
                    HasSubstr("\r\nSec-WebSocket-Protocol: ferry.v1\r\n"),
                    HasSubstr("\r\nAuthorization: Bearer of news\r\n"),
                    HasSubstr("\r\nUser-Agent: Ferry\r\n"), HasSubstr("\r\nX-Empty: \r\n"),
                    HasSubstr("\r\nX-Two: 1\r\n"), HasSubstr("\r\nX-Two: 2\r\n")));
}

TEST_F(WebsocketClient, IsToldNoInTheServersWords) {
  const auto channel = ask("HTTP/1.1 503 Come back\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(code_of(channel), Errc::unreachable);
  EXPECT_THAT(text_of(channel),
              StartsWith("upgrade ws://node7:4446/ferry: it answered 503 Come back"));
}

TEST_F(WebsocketClient, ReadsAnAnswerThatEndsWithTheLine) {
  const auto channel = ask("HTTP/1.0 403 Forbidden\r\n\r\nkeep out");
  EXPECT_EQ(code_of(channel), Errc::refused);
  EXPECT_THAT(text_of(channel), HasSubstr("it answered 403 Forbidden"));
}

TEST_F(WebsocketClient, BelievesNoAnswerToAnotherRequest) {
  const auto channel =
      ask("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
  EXPECT_FALSE(channel);
}

TEST_F(WebsocketClient, TakesNoAnswerWithoutEnd) {
  EXPECT_EQ(code_of(ask("HTTP/1.1 101 " + std::string(20'000, 'x'))), Errc::protocol);
  EXPECT_EQ(code_of(ask("SSH-2.0-OpenSSH_9.2\r\n")), Errc::protocol);
  EXPECT_EQ(code_of(ask("")), Errc::disconnected);
}

}  // namespace
}  // namespace ferry::test
