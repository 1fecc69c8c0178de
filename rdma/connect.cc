#include "rdma/connect.h"

#include <cerrno>
#include <chrono>
#include <utility>

namespace ferry {
namespace {

using namespace std::chrono_literals;

// The connection manager's own patience, for each of them.
constexpr auto k_resolve_time = 2s;

std::unexpected<Error> not_reached(Error why, const std::string& act) {
  if (why.sys == ENODEV) {
    return fail(Errc::unreachable, act + ": no RDMA device serves this address",
                "rdma link shows the devices");
  }
  why.context = act + ": " + why.context;
  return std::unexpected(std::move(why));
}

std::unexpected<Error> not_reached(const ConnectionEvent& event, const std::string& act) {
  using enum ConnectionEvent::Kind;
  switch (event.kind) {
    case no_device:
      return not_reached(Error{Errc::unreachable, ENODEV, {}, {}}, act);
    case refused:
      return fail_sys(Errc::unreachable, ECONNREFUSED, act, "is migrate-recv listening there?");
    case unreachable:
      return fail_sys(Errc::unreachable, event.sys != 0 ? event.sys : EHOSTUNREACH, act);
    case disconnected:
      return fail(Errc::disconnected, act + ": the peer hung up");
    case device_removed:
      return fail(Errc::unreachable, act + ": the RDMA device was removed");
    default:
      return fail(Errc::protocol, act + ": the connection manager says things out of order");
  }
}

/// The next thing that the connection manager says, which must be `kind`.
Task<ConnectionEvent> expect(EventLoop& loop, Connection& connection, ConnectionEvent::Kind kind,
                             std::string act) {
  for (;;) {
    auto next = connection.next_event();
    if (!next) co_return not_reached(std::move(next).error(), act);
    if (!*next) {
      co_await loop.ready(connection.fd(), Interest::read);
      continue;
    }
    ConnectionEvent event = *std::move(*next);
    if (event.kind == ConnectionEvent::Kind::irrelevant) continue;
    if (event.kind != kind) co_return not_reached(event, act);
    co_return std::move(event);
  }
}

Result<void> begun(Result<void> call, const std::string& act) {
  if (call) return call;
  return not_reached(std::move(call).error(), act);
}

}  // namespace

Task<std::unique_ptr<RdmaLine>> connect_line(EventLoop& loop, Verbs& verbs, PinningDomains& domains,
                                             SocketAddress to, std::string act) {
  using enum ConnectionEvent::Kind;
  auto made = verbs.make_connection();
  if (!made) co_return not_reached(std::move(made).error(), act);
  std::unique_ptr<Connection> connection = *std::move(made);

  co_await begun(connection->resolve_address(to, k_resolve_time), act);
  co_await expect(loop, *connection, address_resolved, act);
  co_await begun(connection->resolve_route(k_resolve_time), act);
  co_await expect(loop, *connection, route_resolved, act);

  auto domain = domains.of(*connection);
  if (!domain) co_return not_reached(std::move(domain).error(), act);
  std::unique_ptr<RdmaLine> line =
      co_await RdmaLine::create(std::move(connection), *std::move(domain), act);
  const auto ours = encode(RdmaLine::greeting());
  co_await begun(line->connection().connect(ours), act);
  ConnectionEvent answer = co_await expect(loop, line->connection(), established, act);
  auto peer = decode_greeting(answer.greeting);
  if (!peer) co_return not_reached(std::move(peer).error(), act);
  co_await begun(line->begin(*peer), act);
  co_return std::move(line);
}

Task<std::unique_ptr<RdmaLine>> answer_line(EventLoop& loop, PinningDomains& domains, Caller caller,
                                            std::string act) {
  auto peer = decode_greeting(caller.greeting);
  if (!peer) co_return not_reached(std::move(peer).error(), act);
  auto domain = domains.of(*caller.connection);
  if (!domain) co_return not_reached(std::move(domain).error(), act);
  std::unique_ptr<RdmaLine> line =
      co_await RdmaLine::create(std::move(caller.connection), *std::move(domain), act);
  const auto ours = encode(RdmaLine::greeting());
  co_await begun(line->connection().accept(ours), act);
  co_await begun(line->begin(*peer), act);
  co_await expect(loop, line->connection(), ConnectionEvent::Kind::established, act);
  co_return std::move(line);
}

}  // namespace ferry
