#include "channels/tcp.h"

#include <netinet/tcp.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "channels/socket_address.h"
#include "channels/socket_channel.h"
#include "channels/socket_connect.h"
#include "ferry/event_loop.h"

namespace ferry {
namespace {

using namespace std::chrono_literals;

constexpr int k_backlog = 1024;  // 255 lanes at once, and strangers

// How long a silent line lives is the session's to say: its heartbeat counts silence. These are the
// backstop, for a peer whose host went away while nobody was writing or reading. The probes begin
// after 15 s. The kernel then ends the line after k_user_timeout and no longer after `k_probes`
// (the count rules where the option is missing).
//
// k_user_timeout is long on purpose: it also counts while a peer that is alive keeps its window
// closed, and one whose disk stalls does that. Such a stall must not kill a lane soon.
constexpr std::chrono::seconds k_probe_after_idle = 15s;
constexpr std::chrono::seconds k_between_probes = 5s;
constexpr int k_probes = 4;
constexpr std::chrono::milliseconds k_user_timeout = 120s;

Result<void> set_line_options(int fd, const std::string& act) {
  struct Option {
    int level, name, value;
  };
  // The library writes whole messages; waiting for more would only delay the last one.
  const Option options[] = {
      {IPPROTO_TCP, TCP_NODELAY, 1},
      {SOL_SOCKET, SO_KEEPALIVE, 1},
      {IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(k_probe_after_idle.count())},
      {IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(k_between_probes.count())},
      {IPPROTO_TCP, TCP_KEEPCNT, k_probes},
      {IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(k_user_timeout.count())},
  };
  for (const Option& option : options) {
    FERRY_TRY(set_option(fd, option.level, option.name, option.value, act));
  }
  return {};
}

std::unique_ptr<Channel> channel_over(UniqueFd fd, std::string peer) {
  ChannelInfo info{
      .scheme = "tcp", .local = tcp_text(local_address(fd.get())), .peer = std::move(peer)};
  return std::make_unique<SocketChannel>(std::move(fd), std::move(info));
}

Task<UniqueFd> connect_one(EventLoop& loop, SocketAddress to, std::string act) {
  UniqueFd fd = co_await open_stream_socket(to.family(), act);
  co_await set_line_options(fd.get(), act);
  co_return co_await connect_socket(loop, std::move(fd), to, std::move(act));
}

/// The first address that answers. They come in the resolver's order of preference, so that where
/// none does, the first one's failure says most.
Task<UniqueFd> connect_any(EventLoop& loop, std::vector<SocketAddress> to, std::string act) {
  std::optional<Error> first;
  for (const SocketAddress& address : to) {
    Result<UniqueFd> fd = co_await connect_one(loop, address, act).caught();
    if (fd) co_return *std::move(fd);
    if (!first) first = std::move(fd).error();
  }
  co_return std::unexpected(*std::move(first));  // a lookup that succeeds has an address
}

Task<std::unique_ptr<Channel>> connect_tcp(EventLoop& loop, Uri to) {
  std::string act = "connect " + to.shown();
  if (to.host.empty()) co_return fail(Errc::usage, act + ": no host is named");
  if (to.port == 0) co_return fail(Errc::usage, act + ": port 0 is for listeners");
  std::vector<SocketAddress> addresses = co_await resolve(loop, to.host, to.port);
  UniqueFd fd = co_await connect_any(loop, std::move(addresses), std::move(act));
  // The peer goes by the name that the caller gave it: that is the one to find in messages.
  co_return channel_over(std::move(fd), to.shown());
}

Result<UniqueFd> listen_at(const SocketAddress& address, const std::string& act) {
  UniqueFd fd = FERRY_TRY(open_stream_socket(address.family(), act));
  FERRY_TRY(set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, act));
  if (address.family() == AF_INET6 && is_any(address)) {
    FERRY_TRY(set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0, act));
  }
  if (::bind(fd.get(), address.get(), address.length) == 0 && ::listen(fd.get(), k_backlog) == 0) {
    return fd;
  }
  const int sys = errno;
  return fail_sys(Errc::unreachable, sys, act,
                  sys == EADDRINUSE ? "is another migrate-recv running? choose another port" : "");
}

/// One socket for both families, or IPv4's alone on a host that has no IPv6.
Result<UniqueFd> listen_everywhere(std::uint16_t port, const std::string& act) {
  Result<UniqueFd> both = listen_at(any_address(AF_INET6, port), act);
  if (both) return both;
  const int sys = both.error().sys;
  if (sys != EAFNOSUPPORT && sys != EADDRNOTAVAIL) return both;
  return listen_at(any_address(AF_INET, port), act);
}

class TcpListener final : public Listener {
 public:
  TcpListener(EventLoop& loop, UniqueFd fd, Uri at)
      : loop_(loop), fd_(std::move(fd)), local_(std::move(at)) {
    const SocketAddress bound = local_address(fd_.get());
    local_.port = port_of(bound);
    // Every listener on all addresses hears 127.0.0.1; "localhost" may name ::1 first, which is
    // absent where IPv6 is switched off, and not every /etc/hosts has it.
    if (is_any(bound)) local_.host = "127.0.0.1";
  }

  Task<std::unique_ptr<Channel>> accept() override {
    std::string act = "accept on " + local_.text();
    UniqueFd fd = co_await accept_socket(loop_, fd_.get(), act);
    co_await set_line_options(fd.get(), act);
    std::string peer = tcp_text(peer_address(fd.get()));
    co_return channel_over(std::move(fd), std::move(peer));
  }

  Uri local() const override { return local_; }

 private:
  EventLoop& loop_;
  UniqueFd fd_;
  Uri local_;
};

Task<std::unique_ptr<Listener>> listen_tcp(EventLoop& loop, Uri at) {
  std::string act = "listen on " + at.shown();
  if (at.host.empty()) {
    UniqueFd fd = co_await listen_everywhere(at.port, act);
    co_return std::make_unique<TcpListener>(loop, std::move(fd), std::move(at));
  }
  std::vector<SocketAddress> addresses = co_await resolve(loop, at.host, at.port);
  UniqueFd fd = co_await listen_at(addresses.front(), act);
  co_return std::make_unique<TcpListener>(loop, std::move(fd), std::move(at));
}

class TcpTransport final : public Transport {
 public:
  std::string_view scheme() const noexcept override { return "tcp"; }
  Task<std::unique_ptr<Channel>> connect(EventLoop& loop, Uri to) override {
    return connect_tcp(loop, std::move(to));
  }
  Task<std::unique_ptr<Listener>> listen(EventLoop& loop, Uri at) override {
    return listen_tcp(loop, std::move(at));
  }
};

}  // namespace

std::unique_ptr<Transport> make_tcp_transport() { return std::make_unique<TcpTransport>(); }

}  // namespace ferry
