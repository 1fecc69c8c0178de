// Hosts with several addresses: how they are reached, and how they listen. The names are the
// test's own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "channels/tcp.h"
#include "channels/tcp_connect.h"
#include "ferry/uri.h"
#include "tests/channels/io.h"
#include "tests/channels/loop_thread.h"
#include "tests/channels/network_namespace.h"
#include "tests/channels/raw_socket.h"
#include "tests/channels/uris.h"

namespace ferry::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

/// The address that a number stands for.
SocketAddress number(const std::string& host, std::uint16_t port = 0) {
  SocketAddress address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    address.length = sizeof *v6;
  } else {
    EXPECT_EQ(::inet_pton(AF_INET, host.c_str(), &v4->sin_addr), 1) << host;
    v4->sin_family = AF_INET;
    address.length = sizeof *v4;
  }
  return with_port(address, port);
}

using Names = std::map<std::string, std::vector<std::string>>;

Task<std::vector<SocketAddress>> look_up(Names names, std::string host, std::uint16_t port) {
  const auto known = names.find(host);
  const std::vector<std::string> itself{host};  // a number
  std::vector<SocketAddress> addresses;
  for (const std::string& text : known == names.end() ? itself : known->second) {
    addresses.push_back(number(text, port));
  }
  co_return std::move(addresses);
}

std::unique_ptr<Transport> tcp_with(Names names) {
  TcpOptions options;
  options.resolve = [names](EventLoop&, std::string host, std::uint16_t port) {
    return look_up(names, std::move(host), port);
  };
  return make_tcp_transport(std::move(options));
}

/// Listens, and its queue is full: the kernel drops what would complete the next connection, so
/// that it hangs.
class SilentAddress {
 public:
  SilentAddress() : listener_(raw_listener(0)), waiting_(raw_connection(address())) {}
  SocketAddress address() const { return local_address(listener_.get()); }
  std::uint16_t port() const { return port_of(address()); }

 private:
  UniqueFd listener_;
  UniqueFd waiting_;
};

std::vector<std::string> hosts_of(const std::vector<SocketAddress>& addresses) {
  std::vector<std::string> hosts;
  for (const SocketAddress& address : addresses) hosts.push_back(host_text(address));
  return hosts;
}

std::vector<std::string> in_turns(const std::vector<std::string>& hosts) {
  std::vector<SocketAddress> addresses;
  for (const std::string& host : hosts) addresses.push_back(number(host));
  return hosts_of(in_turns_of_families(std::move(addresses)));
}

TEST(Addresses, AreTriedInTurnsOfTheirFamiliesBeginningWithTheFirsts) {
  EXPECT_THAT(in_turns({"::1", "::2", "::3", "127.0.0.1", "127.0.0.2"}),
              ElementsAre("::1", "127.0.0.1", "::2", "127.0.0.2", "::3"));
  EXPECT_THAT(in_turns({"127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"}),
              ElementsAre("127.0.0.1", "::1", "127.0.0.2", "127.0.0.3"));
  EXPECT_THAT(in_turns({"::1", "127.0.0.1"}), ElementsAre("::1", "127.0.0.1"));
  EXPECT_THAT(in_turns({}), ElementsAre());
}

TEST(Addresses, AreTriedOnceEach) {
  EXPECT_THAT(in_turns({"::1", "127.0.0.1", "::1", "127.0.0.1", "127.0.0.1"}),
              ElementsAre("::1", "127.0.0.1"));
}

class TcpNames : public testing::Test {
 protected:
  Result<std::unique_ptr<Listener>> listen(Transport& transport, Uri at) {
    return runner_.run(transport.listen(runner_.loop(), std::move(at)));
  }
  Result<std::unique_ptr<Channel>> connect(Transport& transport, Uri to) {
    return runner_.run(transport.connect(runner_.loop(), std::move(to)));
  }
  std::uint16_t free_port() { return port_of(local_address(raw_listener(0).get())); }

  LoopThread runner_;
};

TEST_F(TcpNames, AnAddressThatAnswersIsFoundBehindOthersThatRefuseOrHang) {
  const SilentAddress silent;  // at 127.0.0.1
  const auto transport = tcp_with({{"node7", {"127.0.0.3", "127.0.0.1", "127.0.0.4"}}});
  const auto listener = listen(*transport, tcp("127.0.0.4", silent.port()));
  ASSERT_TRUE(listener) << text_of(listener);
  const std::size_t before = open_descriptors();
  {
    const auto ours = connect(*transport, tcp("node7", silent.port()));
    ASSERT_TRUE(ours) << text_of(ours);
    EXPECT_EQ(open_descriptors(), before + 1) << "the others are closed";
    const auto theirs = runner_.run((*listener)->accept());
    ASSERT_TRUE(theirs) << text_of(theirs);
    EXPECT_EQ((*ours)->info().peer, "tcp://node7:" + std::to_string(silent.port()));
    ASSERT_TRUE(write_all(**ours, "here"));
    EXPECT_EQ(read_all(**theirs, 4), "here");
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(TcpNames, WhereNoneAnswersTheErrorHasEachAddressAndItsReason) {
  const auto transport = tcp_with({{"node7", {"::1", "127.0.0.1", "127.0.0.2"}}});
  const std::uint16_t port = free_port();
  const std::size_t before = open_descriptors();
  const auto channel = connect(*transport, tcp("node7", port));
  EXPECT_EQ(code_of(channel), Errc::unreachable);
  const bool no_ipv6 = text_of(channel).contains("[::1]: cannot assign") ||
                       text_of(channel).contains("[::1]: address family");
  if (!no_ipv6) {
    EXPECT_EQ(text_of(channel),
              "connect tcp://node7:" + std::to_string(port) +
                  ": [::1]: connection refused; 127.0.0.1: connection refused; 127.0.0.2: "
                  "connection refused (is migrate-recv listening there?)");
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(TcpNames, TheOnlyAddressOfANameIsInTheError) {
  const auto transport = tcp_with({{"node7", {"127.0.0.1"}}});
  const std::uint16_t port = free_port();
  EXPECT_EQ(text_of(connect(*transport, tcp("node7", port))),
            "connect tcp://node7:" + std::to_string(port) +
                ": 127.0.0.1: connection refused (is migrate-recv listening there?)");
}

TEST_F(TcpNames, ANameWithoutAnAddressIsUnreachable) {
  const auto transport = tcp_with({{"nowhere", {}}});
  EXPECT_EQ(text_of(connect(*transport, tcp("nowhere", 1))),
            "connect tcp://nowhere:1: the name has no address");
  EXPECT_EQ(text_of(listen(*transport, tcp("nowhere", 1))),
            "listen on tcp://nowhere:1: the name has no address");
}

TEST(TcpNamesDropped, ARaceThatIsDroppedClosesAllItsSockets) {
  const SilentAddress silent;
  // Two ways to write the one silent address: both hang.
  const auto transport = tcp_with({{"node7", {"127.0.0.1", "::ffff:127.0.0.1"}}});
  auto loop = EventLoop::create().value();
  const std::size_t before = open_descriptors();
  // Long enough for both attempts on a busy machine: the second begins after
  // k_connection_attempt_delay.
  Task<void> connecting = connect_and_drop(*loop, *transport, tcp("node7", silent.port()));
  std::size_t during = 0;
  loop->call_at(Clock::now() + k_connection_attempt_delay + 1s,
                [&] { during = open_descriptors(); });
  bool timed_out = false;
  loop->spawn(loop->within(Clock::now() + k_connection_attempt_delay + 1200ms,
                           std::move(connecting), "connect"),
              [&](Result<void> result) {
                timed_out = code_of(result) == Errc::timed_out;
                loop->stop();
              });
  loop->run();
  EXPECT_TRUE(timed_out);
  EXPECT_EQ(during, before + 2);
  EXPECT_EQ(open_descriptors(), before);
}

// Listening.

TEST_F(TcpNames, ANameListensOnAllOfItsAddresses) {
  const Names names{{"node7", {"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.3"}}};
  const auto transport = tcp_with(names);
  const auto listener = listen(*transport, tcp("node7", 0));
  ASSERT_TRUE(listener) << text_of(listener);
  const Uri at = (*listener)->local();
  EXPECT_EQ(at.host, "node7") << "usable verbatim by whoever knows the name";
  EXPECT_NE(at.port, 0);
  for (const char* host : {"127.0.0.2", "127.0.0.3", "127.0.0.4", "node7"}) {
    SCOPED_TRACE(host);
    const auto ours = connect(*transport, tcp(host, at.port));
    ASSERT_TRUE(ours) << text_of(ours);
    const auto theirs = runner_.run((*listener)->accept());
    ASSERT_TRUE(theirs) << text_of(theirs);
    ASSERT_TRUE(write_all(**theirs, host));
    EXPECT_EQ(read_all(**ours, std::string(host).size()), host);
  }
  EXPECT_EQ(code_of(connect(*transport, tcp("127.0.0.5", at.port))), Errc::unreachable);
}

TEST_F(TcpNames, ABusyAddressDoesNotStarveAnother) {
  const auto transport = tcp_with({{"node7", {"127.0.0.2", "127.0.0.3"}}});
  const auto listener = listen(*transport, tcp("node7", 0));
  ASSERT_TRUE(listener) << text_of(listener);
  const std::uint16_t port = (*listener)->local().port;
  std::vector<UniqueFd> busy;
  for (int i = 0; i < 20; ++i) busy.push_back(raw_connection(number("127.0.0.2", port)));
  const UniqueFd other = raw_connection(number("127.0.0.3", port));
  ASSERT_TRUE(other);
  const std::string who = uri_text("tcp", local_address(other.get()));
  bool came = false;
  for (int turn = 0; turn < 2; ++turn) {
    const auto accepted = runner_.run((*listener)->accept());
    ASSERT_TRUE(accepted) << text_of(accepted);
    came = came || (*accepted)->info().peer == who;
  }
  EXPECT_TRUE(came) << "of two turns one is its";
}

TEST_F(TcpNames, AnAcceptThatWaitsHearsEveryAddress) {
  const auto transport = tcp_with({{"node7", {"127.0.0.2", "127.0.0.3"}}});
  const auto listener = listen(*transport, tcp("node7", 0));
  ASSERT_TRUE(listener) << text_of(listener);
  const std::uint16_t port = (*listener)->local().port;
  for (const char* host : {"127.0.0.3", "127.0.0.2", "127.0.0.3"}) {
    std::optional<Result<std::unique_ptr<Channel>>> accepted;
    BlockedThread waiting([&] { accepted = runner_.run((*listener)->accept()); });
    waiting.wait_until_asleep();
    const UniqueFd peer = raw_connection(number(host, port));
    waiting.join();
    ASSERT_TRUE(*accepted) << text_of(*accepted);
    EXPECT_EQ((**accepted)->info().local, tcp(host, port).text());
  }
}

TEST_F(TcpNames, APortThatIsTakenOnOneAddressIsTaken) {
  const auto transport = tcp_with({{"node7", {"127.0.0.2", "127.0.0.3"}}});
  const auto taken = listen(*transport, tcp("127.0.0.3", 0));
  ASSERT_TRUE(taken) << text_of(taken);
  const std::size_t before = open_descriptors();
  const auto listener = listen(*transport, tcp("node7", (*taken)->local().port));
  EXPECT_EQ(code_of(listener), Errc::unreachable);
  EXPECT_TRUE(text_of(listener).contains("address already in use")) << text_of(listener);
  EXPECT_EQ(open_descriptors(), before);
}

TEST(TcpNamesAnyPort, IsOneThatIsFreeOnAllAddresses) {
  in_a_network_of_its_own([] {
    ASSERT_TRUE(set_sysctl("net/ipv4/ip_local_port_range", "40000\t40001"));
    LoopThread runner;
    const auto transport = tcp_with({{"node7", {"127.0.0.2", "127.0.0.3"}}});
    const auto taken = runner.run(transport->listen(runner.loop(), tcp("127.0.0.3", 40000)));
    ASSERT_TRUE(taken) << text_of(taken);
    // The kernel gives 127.0.0.2 either port; one of them is taken on the other address.
    for (int i = 0; i < 10; ++i) {
      const auto listener = runner.run(transport->listen(runner.loop(), tcp("node7", 0)));
      ASSERT_TRUE(listener) << text_of(listener);
      EXPECT_EQ((*listener)->local().port, 40001);
    }
  });
}

TEST(TcpNamesAnyPort, IsGivenUpWhereNoneIsFreeOnAllAddresses) {
  in_a_network_of_its_own([] {
    ASSERT_TRUE(set_sysctl("net/ipv4/ip_local_port_range", "40000\t40001"));
    LoopThread runner;
    const auto transport = tcp_with({{"node7", {"127.0.0.2", "127.0.0.3"}}});
    const auto one = runner.run(transport->listen(runner.loop(), tcp("127.0.0.3", 40000)));
    const auto other = runner.run(transport->listen(runner.loop(), tcp("127.0.0.3", 40001)));
    ASSERT_TRUE(one && other);
    const auto listener = runner.run(transport->listen(runner.loop(), tcp("node7", 0)));
    ASSERT_FALSE(listener);
    EXPECT_EQ(listener.error().sys, EADDRINUSE) << text_of(listener);
  });
}

TEST(TcpNamesElsewhere, WhatThisHostDoesNotHaveIsLeftOut) {
  in_a_network_of_its_own([] {
    LoopThread runner;
    const auto transport =
        tcp_with({{"node7", {"192.0.2.1", "127.0.0.2"}}, {"node8", {"192.0.2.1", "192.0.2.2"}}});
    const auto listener = runner.run(transport->listen(runner.loop(), tcp("node7", 0)));
    ASSERT_TRUE(listener) << text_of(listener);
    const Uri at = tcp("127.0.0.2", (*listener)->local().port);
    EXPECT_TRUE(runner.run(transport->connect(runner.loop(), at)));
    EXPECT_EQ(text_of(runner.run(transport->listen(runner.loop(), tcp("node8", 4000)))),
              "listen on tcp://node8:4000: cannot assign requested address");
  });
}

TEST(TcpNamesInIpv4Only, AnEmptyHostAndANameWithBothFamiliesAreHeard) {
  in_a_network_of_its_own([] {
    ASSERT_TRUE(set_sysctl("net/ipv6/conf/all/disable_ipv6", "1"));
    LoopThread runner;
    const auto transport = tcp_with({{"node7", {"::1", "127.0.0.1"}}});
    for (const char* host : {"", "node7"}) {
      SCOPED_TRACE(host);
      const auto listener = runner.run(transport->listen(runner.loop(), tcp(host, 0)));
      ASSERT_TRUE(listener) << text_of(listener);
      const auto ours = runner.run(transport->connect(runner.loop(), (*listener)->local()));
      EXPECT_TRUE(ours) << text_of(ours);
    }
  });
}

}  // namespace
}  // namespace ferry::test
