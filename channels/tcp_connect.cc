#include "channels/tcp_connect.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "channels/socket_connect.h"
#include "loop/race.h"

namespace ferry {
namespace {

Task<UniqueFd> connect_one(EventLoop& loop, SocketAddress to, TcpKind kind, std::string act) {
  UniqueFd fd = co_await open_tcp_socket(to.family(), kind, act);
  co_await set_line_options(fd.get(), act);
  fd = co_await connect_socket(loop, std::move(fd), to, std::move(act));
  queue_little_to_own_address(fd.get());
  co_return fd;
}

std::string in_brackets(const SocketAddress& address) {
  const std::string host = host_text(address);
  return host.contains(':') ? '[' + host + ']' : host;
}

/// One line out of the failures of several addresses, each of which begins with its address.
Error none_answers(std::string act, std::vector<Error> failures) {
  Error all{failures.front().code, 0, std::move(act), {}};
  std::string separator = ": ";
  for (Error& failure : failures) {
    // They come in the order of preference: the first that has a remedy knows best.
    std::string remedy = std::exchange(failure.remedy, {});
    if (all.remedy.empty()) all.remedy = std::move(remedy);
    all.context += std::exchange(separator, "; ") + failure.text();
  }
  return all;
}

}  // namespace

std::vector<SocketAddress> in_turns_of_families(std::vector<SocketAddress> addresses) {
  std::vector<SocketAddress> preferred;
  std::vector<SocketAddress> other;
  for (const SocketAddress& address : addresses) {
    auto& family = address.family() == addresses.front().family() ? preferred : other;
    if (std::ranges::find(family, address) == family.end()) family.push_back(address);
  }
  std::vector<SocketAddress> ordered;
  for (std::size_t i = 0; i < std::max(preferred.size(), other.size()); ++i) {
    if (i < preferred.size()) ordered.push_back(preferred[i]);
    if (i < other.size()) ordered.push_back(other[i]);
  }
  return ordered;
}

Task<UniqueFd> connect_to_first(EventLoop& loop, Uri to, std::vector<SocketAddress> addresses,
                                TcpKind kind) {
  const std::string act = "connect " + to.shown();
  const std::vector<SocketAddress> ordered = in_turns_of_families(std::move(addresses));
  // An address that was given as such stands in the message already.
  const bool is_literal = ordered.size() == 1 && host_text(ordered.front()) == to.host;
  std::vector<Task<UniqueFd>> attempts;
  for (const SocketAddress& address : ordered) {
    attempts.push_back(connect_one(loop, address, kind, is_literal ? act : in_brackets(address)));
  }
  Race<UniqueFd> race(loop, k_connection_attempt_delay, std::move(attempts));
  std::optional<UniqueFd> won = co_await race;
  if (won) co_return *std::move(won);
  if (ordered.empty()) co_return fail(Errc::unreachable, act + ": the name has no address");
  if (is_literal) co_return std::unexpected(race.failures().front());
  co_return std::unexpected(none_answers(act, race.failures()));
}

}  // namespace ferry
