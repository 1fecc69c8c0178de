// How far the address leads that a listener says.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "ferry/ferry.h"
#include "tests/channels/loop_thread.h"

namespace ferry::test {
namespace {

struct Case {
  std::string at;
  Reach reach;
};

class ReachOf : public testing::TestWithParam<Case> {};

/// Skips where this build has no such transport.
void expect_reach(const std::string& address, Reach reach) {
  const auto runtime = make_runtime().value();
  const Uri at = Uri::parse(address).value();
  const auto transport = runtime->transport(at.scheme);
  if (!transport) GTEST_SKIP() << "this build has none: " << transport.error().text();
  LoopThread runner;
  const auto listener = runner.run((*transport)->listen(runner.loop(), at));
  ASSERT_TRUE(listener) << listener.error().text();
  EXPECT_EQ((*listener)->reach(), reach);
}

TEST_P(ReachOf, IsThatOfWhatItIsBoundTo) { expect_reach(GetParam().at, GetParam().reach); }

INSTANTIATE_TEST_SUITE_P(Every, ReachOf,
                         testing::Values(Case{"tcp://:0", Reach::every_address},
                                         Case{"tcp://0.0.0.0:0", Reach::every_address},
                                         Case{"tcp://127.0.0.1:0", Reach::this_host},
                                         Case{"tcp://localhost:0", Reach::this_host},
                                         Case{"tls://:0", Reach::every_address},
                                         Case{"tls://127.0.0.1:0", Reach::this_host},
                                         Case{"ws://:0/ferry", Reach::every_address},
                                         Case{"wss://127.0.0.1:0/ferry", Reach::this_host},
                                         Case{"unix://@ferry-reach-" + std::to_string(::getpid()),
                                              Reach::this_host}),
                         [](const auto& each) {
                           std::string name = std::to_string(each.index) +
                                              each.param.at.substr(0, each.param.at.find(':'));
                           return name;
                         });

/// A TCP socket that listens at a port of its own choice; released to whoever takes it over.
int listening_at(in_addr_t host) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(host);
  EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
  EXPECT_EQ(::listen(fd, 1), 0);
  return fd;
}

TEST(Reach, OfASocketThatOthersHaveOpenedIsWhereItIsBound) {
  expect_reach("fd:" + std::to_string(listening_at(INADDR_ANY)), Reach::every_address);
  expect_reach("fd:" + std::to_string(listening_at(INADDR_LOOPBACK)), Reach::this_host);
}

}  // namespace
}  // namespace ferry::test
