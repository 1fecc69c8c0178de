#include "channels/listening_sockets.h"

#include <poll.h>
#include <sys/socket.h>

#include <cassert>
#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>

#include "channels/socket_connect.h"
#include "loop/race.h"

namespace ferry {
namespace {

using namespace std::chrono_literals;

/// accept(2) hands over the errors of a connection that died while it was waiting in the queue.
bool is_of_one_peer(int sys) noexcept {
  switch (sys) {
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

}  // namespace

ListeningSockets::ListeningSockets(std::vector<UniqueFd> sockets) : sockets_(std::move(sockets)) {
  assert(!sockets_.empty());
}

ListeningSockets::ListeningSockets(UniqueFd only) { sockets_.push_back(std::move(only)); }

Task<UniqueFd> ListeningSockets::accept(EventLoop& loop, std::string act) {
  for (;;) {
    Accepted accepted = accept_now();
    if (accepted.fd) co_return std::move(accepted.fd);
    if (accepted.sys == EAGAIN) {
      co_await someone_waits(loop);
    } else if (is_shortage(accepted.sys)) {
      // The connection stays in the queue and keeps the listener ready: waiting for readiness would
      // spin until somebody closes a descriptor.
      co_await loop.sleep_until(Clock::now() + 50ms);
    } else if (!is_of_one_peer(accepted.sys)) {
      co_return fail_sys(Errc::system, accepted.sys, std::move(act));
    }
  }
}

/// Asks each once, beginning behind the one that answered last.
ListeningSockets::Accepted ListeningSockets::accept_now() {
  for (std::size_t asked = 0; asked < sockets_.size(); ++asked) {
    const int socket = sockets_[turn_].get();
    turn_ = (turn_ + 1) % sockets_.size();
    // One that somebody else opened may be blocking.
    pollfd waiting{.fd = socket, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, 0) == 0) continue;
    UniqueFd fd(::accept4(socket, nullptr, nullptr, SOCK_CLOEXEC));
    if (fd) return {.fd = std::move(fd)};
    if (errno != EAGAIN && errno != EWOULDBLOCK) return {.fd = {}, .sys = errno};
  }
  return {.fd = {}, .sys = EAGAIN};
}

Task<void> ListeningSockets::someone_waits(EventLoop& loop) {
  if (sockets_.size() == 1) {
    co_await loop.ready(first(), Interest::read);
    co_return;
  }
  std::vector<Task<Interest>> waits;
  for (const UniqueFd& socket : sockets_) waits.push_back(loop.ready(socket.get(), Interest::read));
  Race<Interest> first_of_them(loop, Clock::duration::zero(), std::move(waits));
  const std::optional<Interest> ready = co_await first_of_them;
  if (!ready) co_await std::unexpected(first_of_them.failures().front());
}

}  // namespace ferry
