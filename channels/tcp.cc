#include "channels/tcp.h"

#include <string>
#include <utility>
#include <vector>

#include "base/refuse_options.h"
#include "channels/listening_sockets.h"
#include "channels/socket_channel.h"
#include "channels/socket_connect.h"
#include "channels/tcp_connect.h"
#include "channels/tcp_listen.h"
#include "ferry/event_loop.h"

namespace ferry {
namespace {

std::unique_ptr<Channel> channel_over(UniqueFd fd, std::string peer, TcpKind wanted) {
  ChannelInfo info{
      .scheme = "tcp", .local = uri_text("tcp", local_address(fd.get())), .peer = std::move(peer)};
  info.multipath = is_multipath(fd.get());
  if (wanted == TcpKind::multipath && !info.multipath) info.shortfall = why_not_multipath();
  return std::make_unique<SocketChannel>(std::move(fd), std::move(info));
}

Task<std::unique_ptr<Channel>> connect_tcp(EventLoop& loop, TcpOptions options, Uri to) {
  std::string act = "connect " + to.shown();
  co_await refuse_options(to, act);
  if (to.host.empty()) co_return fail(Errc::usage, act + ": no host is named");
  if (to.port == 0) co_return fail(Errc::usage, act + ": port 0 is for listeners");
  std::vector<SocketAddress> addresses = co_await options.resolve(loop, to.host, to.port);
  UniqueFd fd = co_await connect_to_first(loop, to, std::move(addresses), options.kind);
  // The peer goes by the name that the caller gave it: that is the one to find in messages.
  co_return channel_over(std::move(fd), to.shown(), options.kind);
}

/// As far as the address that leads farthest.
Reach reach_of(const std::vector<UniqueFd>& sockets) {
  Reach reach = Reach::this_host;
  for (const UniqueFd& socket : sockets) {
    reach = std::max(reach, reach_of(local_address(socket.get())));
  }
  return reach;
}

class TcpListener final : public Listener {
 public:
  TcpListener(EventLoop& loop, std::vector<UniqueFd> sockets, Uri at, TcpKind kind)
      : loop_(loop),
        reach_(reach_of(sockets)),
        sockets_(std::move(sockets)),
        local_(std::move(at)),
        kind_(kind) {
    const SocketAddress bound = local_address(sockets_.first());
    local_.port = port_of(bound);
    // Every listener on all addresses hears 127.0.0.1; "localhost" may name ::1 first, which is
    // absent where IPv6 is switched off, and not every /etc/hosts has it.
    if (is_any(bound)) local_.host = "127.0.0.1";
  }

  Task<std::unique_ptr<Channel>> accept() override {
    std::string act = "accept on " + local_.shown();
    UniqueFd fd = co_await sockets_.accept(loop_, act);
    co_await set_line_options(fd.get(), act);
    queue_little_to_own_address(fd.get());
    std::string peer = uri_text("tcp", peer_address(fd.get()));
    co_return channel_over(std::move(fd), std::move(peer), kind_);
  }

  Uri local() const override { return local_; }
  Reach reach() const noexcept override { return reach_; }

 private:
  EventLoop& loop_;
  const Reach reach_;
  ListeningSockets sockets_;
  Uri local_;
  const TcpKind kind_;
};

Task<std::unique_ptr<Listener>> listen_tcp(EventLoop& loop, TcpOptions options, Uri at) {
  std::string act = "listen on " + at.shown();
  co_await refuse_options(at, act);
  std::vector<UniqueFd> sockets;
  if (at.host.empty()) {
    sockets = co_await listen_everywhere(at.port, options.kind, act);
  } else {
    std::vector<SocketAddress> addresses = co_await options.resolve(loop, at.host, at.port);
    sockets = co_await listen_on_all(std::move(addresses), options.kind, act);
  }
  co_return std::make_unique<TcpListener>(loop, std::move(sockets), std::move(at), options.kind);
}

class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(TcpOptions options) : options_(std::move(options)) {}
  std::string_view scheme() const noexcept override { return "tcp"; }
  std::optional<TransportAbilities> abilities() const noexcept override {
    return TransportAbilities{.zero_copy = true};
  }
  Task<std::unique_ptr<Channel>> connect(EventLoop& loop, Uri to) override {
    return connect_tcp(loop, options_, std::move(to));
  }
  Task<std::unique_ptr<Listener>> listen(EventLoop& loop, Uri at) override {
    return listen_tcp(loop, options_, std::move(at));
  }

 private:
  const TcpOptions options_;
};

}  // namespace

std::unique_ptr<Transport> make_tcp_transport(TcpOptions options) {
  return std::make_unique<TcpTransport>(std::move(options));
}

}  // namespace ferry
