#include "rdma/transport.h"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/refuse_options.h"
#include "loop/handshakes.h"
#include "loop/task_group.h"
#include "rdma/channel.h"
#include "rdma/connect.h"

namespace ferry {
namespace {

using namespace std::chrono_literals;

// For one of a name's addresses: the connection manager itself would ask for a minute.
constexpr auto k_one_address_time = 10s;
// Each has its buffers pinned: the lanes of a session, and not many strangers.
constexpr std::size_t k_most_handshakes = 288;

std::unique_ptr<Channel> channel_over(std::unique_ptr<RdmaLine> line, std::string peer,
                                      const RdmaOptions& options) {
  const SocketAddress ours = line->connection().local();
  ChannelInfo info{.scheme = "rdma", .local = uri_text("rdma", ours), .peer = std::move(peer)};
  info.within_host = host_text(ours) == host_text(line->connection().peer());
  return std::make_unique<RdmaChannel>(std::move(line), std::move(info), options.most_pinned);
}

Task<std::unique_ptr<Channel>> connect_rdma(EventLoop& loop, std::shared_ptr<Verbs> verbs,
                                            PinningDomains& domains, RdmaOptions options, Uri to) {
  std::string act = "connect " + to.shown();
  co_await refuse_options(to, act);
  if (to.host.empty()) co_return fail(Errc::usage, act + ": no host is named");
  if (to.port == 0) co_return fail(Errc::usage, act + ": port 0 is for listeners");
  const std::vector<SocketAddress> addresses = co_await resolve(loop, to.host, to.port);
  Error why{Errc::unreachable, 0, act + ": the name has no address", {}};
  for (const SocketAddress& address : addresses) {
    Task<std::unique_ptr<RdmaLine>> attempt = connect_line(loop, *verbs, domains, address, act);
    Result<std::unique_ptr<RdmaLine>> line =
        co_await loop.within(Clock::now() + k_one_address_time, std::move(attempt), act).caught();
    if (line) co_return channel_over(*std::move(line), to.shown(), options);
    why = std::move(line).error();
  }
  if (why.code == Errc::timed_out) why.code = Errc::unreachable;
  co_return std::unexpected(std::move(why));
}

class RdmaListener final : public Listener {
 public:
  RdmaListener(EventLoop& loop, std::unique_ptr<ListeningConnection> door, Uri local, Reach reach,
               RdmaOptions options)
      : loop_(loop),
        door_(std::move(door)),
        local_(std::move(local)),
        reach_(reach),
        options_(options),
        handshakes_(loop, k_most_handshakes),
        serving_(loop) {
    serving_.spawn(serve());
  }

  Task<std::unique_ptr<Channel>> accept() override { return handshakes_.next(); }

  Uri local() const override { return local_; }
  Reach reach() const noexcept override { return reach_; }

 private:
  Task<void> serve() {
    for (;;) {
      auto caller = door_->next_caller();
      if (!caller) {
        Error why = std::move(caller).error();
        why.context = "accept on " + local_.shown() + ": " + why.context;
        handshakes_.add_failure(std::move(why));
        co_return;
      }
      if (!*caller) {
        co_await loop_.ready(door_->fd(), Interest::read);
        continue;
      }
      std::string peer = uri_text("rdma", (*caller)->connection->peer());
      std::string act = "answer " + peer;
      handshakes_.begin(greet(*std::move(*caller), std::move(peer), act), act);
    }
  }

  Task<std::unique_ptr<Channel>> greet(Caller caller, std::string peer, std::string act) {
    std::unique_ptr<RdmaLine> line =
        co_await answer_line(loop_, domains_, std::move(caller), std::move(act));
    co_return channel_over(std::move(line), std::move(peer), options_);
  }

  EventLoop& loop_;
  std::unique_ptr<ListeningConnection> door_;
  const Uri local_;
  const Reach reach_;
  const RdmaOptions options_;
  PinningDomains domains_;
  Handshakes handshakes_;
  TaskGroup serving_;  // last: it uses all of the above
};

/// Whom a sender on this host finds the listener by: 127.0.0.1 is no address of any device.
Result<std::string> own_host(Verbs& verbs, const std::string& act) {
  const std::vector<SocketAddress> own = verbs.own_addresses();
  if (!own.empty()) return host_text(own.front());
  return fail(Errc::unreachable, act + ": this host has no RDMA device with an address",
              "rdma link shows the devices");
}

std::unexpected<Error> not_listening(Error why, const std::string& act) {
  if (why.sys == ENODEV || why.sys == EADDRNOTAVAIL) {
    return fail(Errc::unreachable, act + ": no RDMA device serves this address",
                "rdma link shows the devices");
  }
  why.context = act + (why.context.empty() ? "" : ": " + why.context);
  if (why.sys == EADDRINUSE) why.remedy = "is another migrate-recv running?";
  return std::unexpected(std::move(why));
}

Task<std::unique_ptr<Listener>> listen_rdma(EventLoop& loop, std::shared_ptr<Verbs> verbs,
                                            RdmaOptions options, Uri at) {
  std::string act = "listen on " + at.shown();
  co_await refuse_options(at, act);
  SocketAddress address = any_address(AF_INET6, at.port);
  if (at.host.empty()) {
    at.host = co_await own_host(*verbs, act);
  } else {
    const std::vector<SocketAddress> addresses = co_await resolve(loop, at.host, at.port);
    if (addresses.empty()) co_return fail(Errc::unreachable, act + ": the name has no address");
    address = addresses.front();
  }
  auto door = verbs->listen(address);
  if (!door && is_any(address)) door = verbs->listen(any_address(AF_INET, at.port));
  if (!door) co_return not_listening(std::move(door).error(), act);
  at.port = (*door)->port();
  co_return std::make_unique<RdmaListener>(loop, *std::move(door), std::move(at), reach_of(address),
                                           options);
}

class RdmaTransport final : public Transport {
 public:
  RdmaTransport(std::shared_ptr<Verbs> verbs, const RdmaOptions& options)
      : verbs_(std::move(verbs)), options_(options) {}
  std::string_view scheme() const noexcept override { return "rdma"; }
  std::optional<TransportAbilities> abilities() const noexcept override {
    return TransportAbilities{.placed_writes = true};
  }
  Task<std::unique_ptr<Channel>> connect(EventLoop& loop, Uri to) override {
    return connect_rdma(loop, verbs_, domains_, options_, std::move(to));
  }
  Task<std::unique_ptr<Listener>> listen(EventLoop& loop, Uri at) override {
    return listen_rdma(loop, verbs_, options_, std::move(at));
  }

 private:
  const std::shared_ptr<Verbs> verbs_;  // shared with Tasks
  const RdmaOptions options_;
  PinningDomains domains_;  // of what it connects to
};

}  // namespace

std::unique_ptr<Transport> make_rdma_transport_over(std::shared_ptr<Verbs> verbs,
                                                    const RdmaOptions& options) {
  return std::make_unique<RdmaTransport>(std::move(verbs), options);
}

}  // namespace ferry
