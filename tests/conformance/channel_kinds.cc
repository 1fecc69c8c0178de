#include "tests/conformance/channel_kinds.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "channels/buffer.h"
#include "channels/exec.h"
#include "channels/faulty.h"
#include "channels/inherited_fd.h"
#include "channels/pipe_channel.h"
#include "channels/socket_channel.h"
#include "channels/tcp.h"
#include "channels/unix.h"
#include "channels/vsock.h"
#include "examples/seqpacket_transport.h"
#include "ferry/uri.h"
#include "rdma/rdma_transport.h"
#include "rdma/transport.h"
#include "tests/rdma/fabric.h"

namespace ferry::test {
namespace {

constexpr std::size_t kib(std::size_t n) { return n << 10; }
constexpr std::size_t mib(std::size_t n) { return n << 20; }

using Make = std::unique_ptr<Transport> (*)();

std::unique_ptr<Transport> plain_tcp() { return make_tcp_transport(); }
std::unique_ptr<Transport> multipath_tcp() {
  return make_tcp_transport({.kind = TcpKind::multipath});
}

std::unique_ptr<Transport> rdma_without_a_device() {
  return make_rdma_transport_over(Fabric().verbs(), {});
}
std::unique_ptr<Transport> rdma_with_a_device() { return make_rdma_transport(); }

/// Over a transport, by a listener at `at`.
Task<Ends> connect_through(EventLoop& loop, Transport& transport, Uri at) {
  std::unique_ptr<Listener> listener = co_await transport.listen(loop, std::move(at));
  Ends ends;
  ends.ours = co_await transport.connect(loop, listener->local());
  ends.theirs = co_await listener->accept();
  co_return std::move(ends);
}

std::function<Result<Ends>(LoopThread&)> over(Make make, std::string at) {
  return [make, at](LoopThread& runner) -> Result<Ends> {
    const std::unique_ptr<Transport> transport = make();
    const Uri uri = FERRY_TRY(Uri::parse(at));
    return runner.run(connect_through(runner.loop(), *transport, uri));
  };
}

/// Through CID 1, which leads back to this machine where the module is loaded. Without it some
/// machines answer only by a time-out of the kernel's.
std::function<Result<Ends>(LoopThread&)> over_vsock() {
  if (std::filesystem::exists("/sys/module/vsock_loopback")) {
    return over(make_vsock_transport, "vsock://1:0");
  }
  return [](LoopThread&) -> Result<Ends> {
    return fail_sys(Errc::unreachable, EADDRNOTAVAIL, "vsock_loopback is not loaded");
  };
}

/// Between two ports of a device of this host.
std::function<Result<Ends>(LoopThread&)> over_rdma() {
  return [](LoopThread& runner) -> Result<Ends> {
    auto ends = over(rdma_with_a_device, "rdma://:0")(runner);
    if (!ends && ends.error().code == Errc::unreachable) ends.error().sys = EADDRNOTAVAIL;
    return ends;
  };
}

Result<Ends> socket_pair() {
  auto [ours, theirs] = FERRY_TRY(make_socket_pair());
  return Ends{std::move(ours), std::move(theirs)};
}

Result<Ends> buffer_pair(std::size_t capacity) {
  auto [ours, theirs] = make_buffer_pair(capacity);
  return Ends{std::move(ours), std::move(theirs)};
}

/// Two pipes, as a shell makes them.
Result<Ends> pipes() {
  int up[2];
  int down[2];
  if (::pipe2(up, O_CLOEXEC) != 0 || ::pipe2(down, O_CLOEXEC) != 0) {
    return fail_sys(Errc::system, errno, "make two pipes");
  }
  const ChannelInfo info{.scheme = "stdio", .local = {}, .peer = "two pipes", .within_host = true};
  Ends ends;
  ends.ours = FERRY_TRY(PipeChannel::create(UniqueFd(down[0]), UniqueFd(up[1]), info));
  ends.theirs = FERRY_TRY(PipeChannel::create(UniqueFd(up[0]), UniqueFd(down[1]), info));
  return ends;
}

/// Both ends of a socket pair, by their numbers.
Result<Ends> inherited(LoopThread& runner) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) {
    return fail_sys(Errc::system, errno, "make a socket pair");
  }
  const std::unique_ptr<Transport> transport = make_fd_transport();
  const auto connect = [&](int fd) -> Result<std::unique_ptr<Channel>> {
    const Uri uri = FERRY_TRY(Uri::parse("fd:" + std::to_string(fd)));
    return runner.run(transport->connect(runner.loop(), uri));
  };
  Ends ends;
  ends.ours = FERRY_TRY(connect(fds[0]));
  ends.theirs = FERRY_TRY(connect(fds[1]));
  return ends;
}

Task<Ends> connect_by(EventLoop& loop, Transport& unix_sockets, Transport& commands, Uri at,
                      Uri command) {
  std::unique_ptr<Listener> listener = co_await unix_sockets.listen(loop, std::move(at));
  Ends ends;
  ends.ours = co_await commands.connect(loop, std::move(command));
  ends.theirs = co_await listener->accept();
  co_return std::move(ends);
}

/// A command that passes all on to a socket of ours. After the end of one direction it goes on
/// with the other for three seconds, and what ended a direction is nothing to it.
Result<Ends> through_socat(LoopThread& runner, const std::string& path) {
  if (::access("/usr/bin/socat", X_OK) != 0) {
    return fail_sys(Errc::unsupported, EAFNOSUPPORT, "run socat");  // the suite skips
  }
  const std::unique_ptr<Transport> unix_sockets = make_unix_transport();
  const std::unique_ptr<Transport> commands = make_exec_transport();
  const Uri at = FERRY_TRY(Uri::parse("unix://" + path));
  const Uri command = FERRY_TRY(Uri::parse("exec:exec socat -t 3 STDIO UNIX-CONNECT:" + path));
  return runner.run(connect_by(runner.loop(), *unix_sockets, *commands, at, command));
}

/// Both ends in pieces so small, and so odd, that every message is cut somewhere.
Result<Ends> in_small_pieces(Result<Ends> ends) {
  if (!ends) return ends;
  const FaultyOptions pieces{.reading = {.most_a_call = 7}, .writing = {.most_a_call = 5}};
  ends->ours = make_faulty(std::move(ends->ours), pieces);
  ends->theirs = make_faulty(std::move(ends->theirs), pieces);
  return ends;
}

}  // namespace

namespace {

std::vector<ChannelKind> plain_channels() {
  using enum QuietDestruction;
  constexpr Polls k_polls = Polls::yes;
  constexpr Polls k_blocks = Polls::no;
  constexpr PassesFds k_fds = PassesFds::yes;
  constexpr PassesFds k_no_fds = PassesFds::no;
  const std::string own = "ferry-conformance-" + std::to_string(::getpid());
  return {
      {"TcpV4", k_polls, k_no_fds, is_a_cut, mib(4), over(plain_tcp, "tcp://127.0.0.1:0"),
       CancelReachesPeer::when_destroyed, ReadsBulk::yes},
      {"TcpV6", k_polls, k_no_fds, is_a_cut, mib(4), over(plain_tcp, "tcp://[::1]:0"),
       CancelReachesPeer::when_destroyed, ReadsBulk::yes},
      {"Mptcp", k_polls, k_no_fds, is_a_cut, mib(4), over(multipath_tcp, "tcp://127.0.0.1:0"),
       CancelReachesPeer::when_destroyed, ReadsBulk::yes},
      {"UnixPath", k_polls, k_fds, reads_as_a_finish, mib(4),
       over(make_unix_transport, "unix:///tmp/" + own)},
      {"UnixAbstract", k_polls, k_fds, reads_as_a_finish, mib(4),
       over(make_unix_transport, "unix://@" + own)},
      {"Vsock", k_polls, k_no_fds, reads_as_a_finish, mib(1), over_vsock(),
       CancelReachesPeer::at_once, ReadsBulk::yes, LoudDestruction::reads_as_a_finish},
      {"Rdma", k_polls, k_no_fds, is_a_cut, mib(1), over_rdma(), CancelReachesPeer::when_destroyed},
      {"RdmaWithoutADevice", k_polls, k_no_fds, is_a_cut, mib(4),
       over(rdma_without_a_device, "rdma://127.0.0.1:0"), CancelReachesPeer::when_destroyed},
      {"SocketPair", k_polls, k_fds, reads_as_a_finish, mib(4),
       [](LoopThread&) { return socket_pair(); }},
      {"AThirdPartys", k_blocks, k_no_fds, is_a_cut, mib(1),
       over(make_seqpacket_transport, "seqpacket:///tmp/" + own + ".seqpacket")},
      {"Fd", k_polls, k_fds, reads_as_a_finish, mib(4), inherited},
      {"Pipes", k_blocks, k_no_fds, reads_as_a_finish, mib(4), [](LoopThread&) { return pipes(); },
       CancelReachesPeer::when_destroyed},
      {"Command", k_blocks, k_no_fds, reads_as_a_finish, mib(4),
       [own](LoopThread& runner) { return through_socat(runner, "/tmp/" + own + "-command"); },
       CancelReachesPeer::when_destroyed, ReadsBulk::no, LoudDestruction::reads_as_a_finish},
      {"Buffer", k_blocks, k_no_fds, is_a_cut, mib(4),
       [](LoopThread&) { return buffer_pair(64 * 1024); }},
      {"SmallBuffer", k_blocks, k_no_fds, is_a_cut, kib(64),
       [](LoopThread&) { return buffer_pair(97); }},
      {"FaultySocketPair", k_blocks, k_no_fds, reads_as_a_finish, kib(256),
       [](LoopThread&) { return in_small_pieces(socket_pair()); }},
      {"FaultyBuffer", k_blocks, k_no_fds, is_a_cut, kib(64),
       [](LoopThread&) { return in_small_pieces(buffer_pair(4096)); }},
  };
}

}  // namespace

std::vector<ChannelKind> every_channel() {
  std::vector<ChannelKind> kinds = plain_channels();
  for (ChannelKind& kind : encrypted(kinds)) kinds.push_back(std::move(kind));
  // TlsTcpV4 too: what wss is.
  std::vector<ChannelKind> beneath = kinds;
  std::erase_if(beneath, [](const ChannelKind& kind) {
    return kind.name != "TcpV4" && kind.name != "TlsTcpV4" && kind.name != "UnixPath" &&
           kind.name != "SmallBuffer" && kind.name != "FaultyBuffer";
  });
  std::vector<ChannelKind> tcp = plain_channels();
  std::erase_if(tcp, [](const ChannelKind& kind) { return kind.name != "TcpV4"; });
  for (ChannelKind& kind : encrypted_by_the_kernel(std::move(tcp)))
    kinds.push_back(std::move(kind));
  for (ChannelKind& kind : over_websocket(std::move(beneath))) kinds.push_back(std::move(kind));
  return kinds;
}

std::vector<ChannelKind> every_pollable_channel() {
  std::vector<ChannelKind> kinds = every_channel();
  std::erase_if(kinds, [](const ChannelKind& kind) { return kind.polls == Polls::no; });
  return kinds;
}

std::vector<ChannelKind> every_channel_that_passes_fds() {
  std::vector<ChannelKind> kinds = every_channel();
  std::erase_if(kinds, [](const ChannelKind& kind) { return kind.passes_fds == PassesFds::no; });
  return kinds;
}

std::vector<ChannelKind> every_channel_of_bulk() {
  std::vector<ChannelKind> kinds = plain_channels();
  std::erase_if(kinds, [](const ChannelKind& kind) { return kind.reads_bulk == ReadsBulk::no; });
  return kinds;
}

}  // namespace ferry::test
