// MPTCP where it is asked for, and what is said where there is none.
#include <gtest/gtest.h>
#include <linux/mptcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <utility>

#include "channels/tcp.h"
#include "tests/channels/io.h"
#include "tests/channels/loop_thread.h"
#include "tests/channels/network_namespace.h"

namespace ferry::test {
namespace {

Uri loopback(std::uint16_t port) {
  Uri uri;
  uri.scheme = "tcp";
  uri.host = "127.0.0.1";
  uri.port = port;
  return uri;
}

bool kernel_has_mptcp() {
  return static_cast<bool>(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP)));
}

/// What the kernel itself says of a line.
bool is_mptcp_line(Channel& channel) {
  constexpr int k_sol_mptcp = 284;
  mptcp_info info{};
  socklen_t length = sizeof info;
  return ::getsockopt(channel.facets().pollable->fd(), k_sol_mptcp, MPTCP_INFO, &info, &length) ==
             0 &&
         (info.mptcpi_flags & MPTCP_INFO_FLAG_FALLBACK) == 0;
}

struct Line {
  std::unique_ptr<Channel> ours;
  std::unique_ptr<Channel> theirs;
};

Line connect(LoopThread& runner, TcpKind sender, TcpKind receiver) {
  const auto from = make_tcp_transport({.kind = sender});
  const auto to = make_tcp_transport({.kind = receiver});
  auto listener = runner.run(to->listen(runner.loop(), loopback(0)));
  EXPECT_TRUE(listener) << text_of(listener);
  auto ours = runner.run(from->connect(runner.loop(), (*listener)->local()));
  EXPECT_TRUE(ours) << text_of(ours);
  auto theirs = runner.run((*listener)->accept());
  EXPECT_TRUE(theirs) << text_of(theirs);
  return {*std::move(ours), *std::move(theirs)};
}

void expect_a_sound_line(const Line& line) {
  ASSERT_TRUE(write_all(*line.ours, "ping"));
  EXPECT_EQ(read_all(*line.theirs, 4), "ping");
  ASSERT_TRUE(write_all(*line.theirs, "pong"));
  EXPECT_EQ(read_all(*line.ours, 4), "pong");
}

TEST(Mptcp, IsWhatBothEndsSpeakWhenBothAskForIt) {
  if (!kernel_has_mptcp()) GTEST_SKIP() << "this kernel has no MPTCP";
  LoopThread runner;
  const Line line = connect(runner, TcpKind::multipath, TcpKind::multipath);
  for (Channel* end : {line.ours.get(), line.theirs.get()}) {
    EXPECT_TRUE(is_mptcp_line(*end));
    EXPECT_TRUE(end->info().multipath);
    EXPECT_EQ(end->info().shortfall, "");
  }
  expect_a_sound_line(line);
}

TEST(Mptcp, IsNotSpokenUnasked) {
  LoopThread runner;
  const Line line = connect(runner, TcpKind::plain, TcpKind::plain);
  for (Channel* end : {line.ours.get(), line.theirs.get()}) {
    EXPECT_FALSE(is_mptcp_line(*end));
    EXPECT_FALSE(end->info().multipath);
    EXPECT_EQ(end->info().shortfall, "");
  }
}

TEST(Mptcp, FallsBackToAPeerThatSpeaksPlainTcpAndSaysSo) {
  if (!kernel_has_mptcp()) GTEST_SKIP() << "this kernel has no MPTCP";
  LoopThread runner;
  for (const bool sender_asks : {true, false}) {
    const Line line = connect(runner, sender_asks ? TcpKind::multipath : TcpKind::plain,
                              sender_asks ? TcpKind::plain : TcpKind::multipath);
    Channel& asks = sender_asks ? *line.ours : *line.theirs;
    Channel& asks_not = sender_asks ? *line.theirs : *line.ours;
    EXPECT_FALSE(asks.info().multipath);
    EXPECT_EQ(asks.info().shortfall, "the peer speaks plain TCP, not MPTCP");
    EXPECT_EQ(asks_not.info().shortfall, "");
    expect_a_sound_line(line);
  }
}

TEST(Mptcp, FallsBackWhereTheKernelHasNoneAndSaysSo) {
  in_a_network_of_its_own([] {
    if (kernel_has_mptcp()) {
      ASSERT_TRUE(set_sysctl("net/mptcp/enabled", "0"));
    }
    ASSERT_FALSE(kernel_has_mptcp());
    LoopThread runner;
    const Line line = connect(runner, TcpKind::multipath, TcpKind::multipath);
    for (Channel* end : {line.ours.get(), line.theirs.get()}) {
      EXPECT_FALSE(end->info().multipath);
      EXPECT_TRUE(end->info().shortfall.starts_with("this host has no MPTCP"))
          << end->info().shortfall;
    }
    expect_a_sound_line(line);
  });
}

}  // namespace
}  // namespace ferry::test
