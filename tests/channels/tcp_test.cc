#include "channels/tcp.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "channels/socket_connect.h"
#include "channels/tcp_socket.h"
#include "ferry/uri.h"
#include "loop/socket_address.h"
#include "tests/channels/io.h"
#include "tests/channels/loop_thread.h"
#include "tests/channels/raw_socket.h"
#include "tests/channels/uris.h"
#include "tests/descriptor_limit.h"

namespace ferry::test {
namespace {

using namespace std::chrono_literals;

class Tcp : public testing::Test {
 protected:
  Result<std::unique_ptr<Listener>> listen(Uri at) {
    return runner_.run(transport_->listen(runner_.loop(), std::move(at)));
  }
  Result<std::unique_ptr<Channel>> connect(Uri to) {
    return runner_.run(transport_->connect(runner_.loop(), std::move(to)));
  }
  Result<std::unique_ptr<Channel>> accept(Listener& listener) {
    return runner_.run(listener.accept());
  }
  /// Connects to the URI, accepts, and passes a message.
  void expect_reachable(Listener& listener, const Uri& at) {
    const auto ours = connect(at);
    ASSERT_TRUE(ours) << text_of(ours);
    const auto theirs = accept(listener);
    ASSERT_TRUE(theirs) << text_of(theirs);
    ASSERT_TRUE(write_all(**ours, "here"));
    EXPECT_EQ(read_all(**theirs, 4), "here");
  }
  std::uint16_t port_without_listener() { return (*listen(tcp("127.0.0.1", 0)))->local().port; }

  std::unique_ptr<Transport> transport_ = make_tcp_transport();
  LoopThread runner_;
};

bool has_no_ipv6(const auto& result) {
  return !result && (result.error().sys == EADDRNOTAVAIL || result.error().sys == EAFNOSUPPORT);
}

TEST_F(Tcp, ALocalUriWorksVerbatim) {
  for (const char* host : {"", "127.0.0.1", "localhost", "0.0.0.0", "::", "::1"}) {
    SCOPED_TRACE(host);
    const auto listener = listen(tcp(host, 0));
    if (has_no_ipv6(listener)) continue;
    ASSERT_TRUE(listener) << text_of(listener);
    EXPECT_NE((*listener)->local().port, 0);
    const auto typed = Uri::parse((*listener)->local().text());
    ASSERT_TRUE(typed) << text_of(typed);
    EXPECT_EQ(*typed, (*listener)->local());
    expect_reachable(**listener, *typed);
  }
}

TEST_F(Tcp, AnEmptyHostHearsBothFamilies) {
  const auto listener = listen(tcp("", 0));
  ASSERT_TRUE(listener) << text_of(listener);
  const std::uint16_t port = (*listener)->local().port;
  expect_reachable(**listener, tcp("127.0.0.1", port));
  if (has_no_ipv6(listen(tcp("::1", 0)))) GTEST_SKIP() << "this host has no IPv6";
  expect_reachable(**listener, tcp("::1", port));
}

TEST_F(Tcp, PortZeroTakesAnotherFreePortEachTime) {
  const auto one = listen(tcp("127.0.0.1", 0));
  const auto other = listen(tcp("127.0.0.1", 0));
  ASSERT_TRUE(one && other);
  EXPECT_NE((*one)->local().port, (*other)->local().port);
}

TEST_F(Tcp, EndsAreNamedByTheirAddresses) {
  const auto listener = listen(tcp("", 0));
  ASSERT_TRUE(listener) << text_of(listener);
  const auto ours = connect(tcp("127.0.0.1", (*listener)->local().port));
  ASSERT_TRUE(ours) << text_of(ours);
  const auto theirs = accept(**listener);
  ASSERT_TRUE(ours && theirs);
  EXPECT_EQ((*ours)->info().scheme, "tcp");
  EXPECT_EQ((*ours)->info().peer, (*listener)->local().text());
  // IPv4 on a socket of both families is shown as IPv4.
  EXPECT_EQ((*theirs)->info().peer, (*ours)->info().local);
  EXPECT_TRUE((*theirs)->info().peer.starts_with("tcp://127.0.0.1:")) << (*theirs)->info().peer;
}

TEST_F(Tcp, ARefusalNamesTheAddressAndTheRemedy) {
  const std::uint16_t port = port_without_listener();
  const auto channel = connect(tcp("127.0.0.1", port));
  EXPECT_EQ(code_of(channel), Errc::unreachable);
  EXPECT_EQ(text_of(channel), "connect tcp://127.0.0.1:" + std::to_string(port) +
                                  ": connection refused (is migrate-recv listening there?)");
}

TEST_F(Tcp, AnUnknownNameIsUnreachable) {
  // Too long for a label: refused by the resolver itself, whatever name servers there are.
  const std::string name(64, 'x');
  for (const bool listening : {false, true}) {
    const std::string text =
        listening ? text_of(listen(tcp(name, 0))) : text_of(connect(tcp(name, 1)));
    EXPECT_EQ(text, "resolve '" + name + "': name or service not known");
  }
  EXPECT_EQ(code_of(connect(tcp(name, 1))), Errc::unreachable);
}

TEST_F(Tcp, AnAddressInUseNamesTheRemedy) {
  const auto first = listen(tcp("", 0));
  ASSERT_TRUE(first);
  const std::uint16_t port = (*first)->local().port;
  const auto second = listen(tcp("", port));
  EXPECT_EQ(code_of(second), Errc::unreachable);
  EXPECT_EQ(text_of(second),
            "listen on tcp://:" + std::to_string(port) +
                ": address already in use (is another migrate-recv running? choose another port)");
}

TEST_F(Tcp, APortIsFreeAgainAfterItsListener) {
  auto first = listen(tcp("127.0.0.1", 0));
  ASSERT_TRUE(first);
  const Uri at = (*first)->local();
  {
    const auto ours = connect(at);
    ASSERT_TRUE(ours) << text_of(ours);
    const auto theirs = accept(**first);
    ASSERT_TRUE(theirs) << text_of(theirs);
    // Who finishes first keeps the port in TIME_WAIT.
    ASSERT_TRUE((*theirs)->finish());
    EXPECT_EQ(read_once(**ours), "");
    ASSERT_TRUE((*ours)->finish());
    EXPECT_EQ(read_once(**theirs), "");
  }
  first->reset();
  const auto second = listen(at);
  EXPECT_TRUE(second) << text_of(second);
}

int send_queue_of(const UniqueFd& socket) {
  int bytes = 0;
  socklen_t length = sizeof bytes;
  EXPECT_EQ(::getsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &bytes, &length), 0);
  return bytes;
}

TEST(TcpSocket, QueuesLittleForAPeerAtTheSameAddressAndLeavesOtherSocketsAlone) {
  const UniqueFd listener = raw_listener(1);
  const UniqueFd within = raw_connection(local_address(listener.get()));
  const int before = send_queue_of(within);
  queue_little_to_own_address(within.get());
  EXPECT_NE(send_queue_of(within), before);

  const UniqueFd without_peer(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const UniqueFd no_tcp(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  for (const UniqueFd* other : {&without_peer, &no_tcp}) {
    const int as_it_was = send_queue_of(*other);
    queue_little_to_own_address(other->get());
    EXPECT_EQ(send_queue_of(*other), as_it_was);
  }
}

TEST_F(Tcp, ConnectingToNoHostOrToPortZeroIsAUsageError) {
  EXPECT_EQ(code_of(connect(tcp("", 4446))), Errc::usage);
  EXPECT_EQ(code_of(connect(tcp("127.0.0.1", 0))), Errc::usage);
}

TEST_F(Tcp, ASilentPeerDelaysNobody) {
  const auto listener = listen(tcp("127.0.0.1", 0));
  ASSERT_TRUE(listener);
  const auto silent = connect((*listener)->local());
  const auto other = connect((*listener)->local());
  ASSERT_TRUE(silent && other);
  ASSERT_TRUE(write_all(**other, "hello"));
  const auto first = accept(**listener);
  const auto second = accept(**listener);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(read_all(**second, 5), "hello");
}

TEST_F(Tcp, APeerThatLeftBeforeItWasAcceptedHarmsNobody) {
  const auto listener = listen(tcp("127.0.0.1", 0));
  ASSERT_TRUE(listener);
  ASSERT_TRUE(connect((*listener)->local()));  // destroyed at once, by a reset
  const auto other = connect((*listener)->local());
  ASSERT_TRUE(other);
  ASSERT_TRUE(write_all(**other, "hello"));
  for (;;) {
    const auto peer = accept(**listener);
    ASSERT_TRUE(peer) << text_of(peer);
    if ((*peer)->info().peer != (*other)->info().local) continue;
    EXPECT_EQ(read_all(**peer, 5), "hello");
    break;
  }
}

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  return ::getsockopt(fd, level, name, &value, &length) == 0 ? value : -1;
}

TEST_F(Tcp, BothEndsHaveTheLinesOptions) {
  const auto listener = listen(tcp("127.0.0.1", 0));
  ASSERT_TRUE(listener);
  const auto ours = connect((*listener)->local());
  ASSERT_TRUE(ours) << text_of(ours);
  const auto theirs = accept(**listener);
  ASSERT_TRUE(ours && theirs);
  for (Channel* end : {ours->get(), theirs->get()}) {
    const int fd = end->facets().pollable->fd();
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    EXPECT_EQ(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 15);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 5);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 4);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 120'000);
    EXPECT_EQ(::fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_EQ(::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  }
}

TEST_F(Tcp, AConnectEndsAtItsDeadline) {
  // A full queue: the kernel drops what would complete the next connection.
  const UniqueFd listener = raw_listener(0);
  const SocketAddress address = local_address(listener.get());
  const UniqueFd waiting = raw_connection(address);
  ASSERT_TRUE(waiting);
  const Uri to = tcp("127.0.0.1", port_of(address));
  EventLoop& loop = runner_.loop();
  const auto channel = runner_.run(
      loop.within(Clock::now() + 50ms, transport_->connect(loop, to), "connect " + to.text()));
  EXPECT_EQ(code_of(channel), Errc::timed_out);
}

TEST_F(Tcp, APortThatIsConnectedToItselfIsRefused) {
  EventLoop& loop = runner_.loop();
  UniqueFd fd = *open_stream_socket(AF_INET, "connect");
  SocketAddress address = local_address(raw_listener(0).get());  // free again
  ASSERT_EQ(::bind(fd.get(), address.get(), address.length), 0);
  const auto connected = runner_.run(connect_socket(loop, std::move(fd), address, "connect"));
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().sys, ECONNREFUSED);
}

// On a loop that runs only when it is told to.

/// Everything that can happen without waiting, happens.
void run_a_turn(EventLoop& loop) {
  loop.post([&loop] { loop.stop(); });
  loop.run();
}

TEST(TcpConnect, DroppedMidwayClosesItsSocket) {
  const UniqueFd listener = raw_listener(0);
  const SocketAddress address = local_address(listener.get());
  const UniqueFd waiting = raw_connection(address);
  ASSERT_TRUE(waiting);

  const auto transport = make_tcp_transport();
  auto loop = EventLoop::create().value();
  bool ended = false;
  const std::size_t before = open_descriptors();
  Task<void> connecting = connect_and_drop(*loop, *transport, tcp("127.0.0.1", port_of(address)));
  loop->spawn(
      // The deadline drops the task while its loop goes on.
      loop->within(Clock::now() + 20ms, std::move(connecting), "connect"),
      [&](Result<void> result) {
        EXPECT_EQ(code_of(result), Errc::timed_out);
        ended = true;
        loop->stop();
      });
  run_a_turn(*loop);
  ASSERT_FALSE(ended);
  EXPECT_EQ(open_descriptors(), before + 1);
  loop->run();
  EXPECT_TRUE(ended);
  EXPECT_EQ(open_descriptors(), before);
}

Task<void> accept_one(Listener& listener, std::unique_ptr<Channel>& into) {
  into = co_await listener.accept();
}

Task<void> listen_on_loopback(EventLoop& loop, Transport& transport,
                              std::unique_ptr<Listener>& into) {
  into = co_await transport.listen(loop, tcp("127.0.0.1", 0));
}

TEST(TcpListener, GoesOnWhenThereAreDescriptorsAgain) {
#ifdef __SANITIZE_ADDRESS__
  // It asks the kernel through a pipe whether an object's memory can be read; with no descriptor to
  // be had it takes every object for a stranger's.
  GTEST_SKIP() << "GCC's undefined-behaviour sanitizer needs descriptors of its own";
#endif
  const auto transport = make_tcp_transport();
  auto loop = EventLoop::create().value();
  std::unique_ptr<Listener> listener;
  loop->spawn(listen_on_loopback(*loop, *transport, listener));
  run_a_turn(*loop);
  ASSERT_TRUE(listener);
  SocketAddress address = any_address(AF_INET, listener->local().port);
  const UniqueFd peer = raw_connection(address);
  ASSERT_TRUE(peer);

  std::unique_ptr<Channel> accepted;
  std::optional<Result<void>> outcome;
  {
    const DescriptorLimit none = descriptors_left(0);
    ASSERT_LT(::dup(0), 0);
    loop->spawn(accept_one(*listener, accepted), [&](Result<void> result) {
      outcome = std::move(result);
      loop->stop();
    });
    run_a_turn(*loop);
    ASSERT_FALSE(outcome) << text_of(*outcome);
  }
  loop->run();
  EXPECT_TRUE(*outcome) << text_of(*outcome);
  EXPECT_TRUE(accepted);
}

}  // namespace
}  // namespace ferry::test
