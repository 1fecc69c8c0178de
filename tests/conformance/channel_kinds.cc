#include "tests/conformance/channel_kinds.h"

#include <unistd.h>

#include <utility>

#include "channels/buffer.h"
#include "channels/faulty.h"
#include "channels/socket_channel.h"
#include "channels/tcp.h"
#include "channels/unix.h"
#include "examples/seqpacket_transport.h"
#include "ferry/uri.h"

namespace ferry::test {
namespace {

constexpr std::size_t kib(std::size_t n) { return n << 10; }
constexpr std::size_t mib(std::size_t n) { return n << 20; }

using Make = std::unique_ptr<Transport> (*)();

std::unique_ptr<Transport> plain_tcp() { return make_tcp_transport(); }
std::unique_ptr<Transport> multipath_tcp() {
  return make_tcp_transport({.kind = TcpKind::multipath});
}

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

Result<Ends> socket_pair() {
  auto [ours, theirs] = FERRY_TRY(make_socket_pair());
  return Ends{std::move(ours), std::move(theirs)};
}

Result<Ends> buffer_pair(std::size_t capacity) {
  auto [ours, theirs] = make_buffer_pair(capacity);
  return Ends{std::move(ours), std::move(theirs)};
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
      {"TcpV4", k_polls, k_no_fds, is_a_cut, mib(4), over(plain_tcp, "tcp://127.0.0.1:0")},
      {"TcpV6", k_polls, k_no_fds, is_a_cut, mib(4), over(plain_tcp, "tcp://[::1]:0")},
      {"Mptcp", k_polls, k_no_fds, is_a_cut, mib(4), over(multipath_tcp, "tcp://127.0.0.1:0"),
       CancelReachesPeer::when_destroyed},
      {"UnixPath", k_polls, k_fds, reads_as_a_finish, mib(4),
       over(make_unix_transport, "unix:///tmp/" + own)},
      {"UnixAbstract", k_polls, k_fds, reads_as_a_finish, mib(4),
       over(make_unix_transport, "unix://@" + own)},
      {"SocketPair", k_polls, k_fds, reads_as_a_finish, mib(4),
       [](LoopThread&) { return socket_pair(); }},
      {"AThirdPartys", k_blocks, k_no_fds, is_a_cut, mib(1),
       over(make_seqpacket_transport, "seqpacket:///tmp/" + own + ".seqpacket")},
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

}  // namespace ferry::test
