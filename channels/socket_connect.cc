#include "channels/socket_connect.h"

#include <fcntl.h>

#include <cerrno>
#include <chrono>
#include <utility>

namespace ferry {
namespace {

using namespace std::chrono_literals;

std::string remedy_for(int sys) {
  switch (sys) {
    case ECONNREFUSED:
    case ECONNRESET:  // how a vsock is refused
    case ENOENT:
      return "is migrate-recv listening there?";
    case ENODEV:
      return "is a vsock driver loaded, and does that cid exist?";
    case ETIMEDOUT:
      return "does a firewall drop it?";
    default:
      return {};
  }
}

std::unexpected<Error> connect_failed(int sys, std::string act) {
  const Errc code = is_shortage(sys) ? Errc::system : Errc::unreachable;
  return fail_sys(code, sys, std::move(act), remedy_for(sys));
}

int pending_error(int socket) noexcept {
  int error = 0;
  socklen_t length = sizeof error;
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

/// A free port on this host may be given to the very socket that tries to reach it; TCP then
/// connects it to itself.
bool is_connected_to_itself(int socket) noexcept {
  const SocketAddress local = local_address(socket);
  return port_of(local) != 0 && uri_text("tcp", local) == uri_text("tcp", peer_address(socket));
}

}  // namespace

bool is_shortage(int sys) noexcept {
  return sys == EMFILE || sys == ENFILE || sys == ENOBUFS || sys == ENOMEM;
}

Result<UniqueFd> open_stream_socket(int family, const std::string& act, int protocol) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  if (!fd) return connect_failed(errno, act);
  return fd;
}

Task<UniqueFd> connect_socket(EventLoop& loop, UniqueFd socket, SocketAddress to, std::string act) {
  int sys = 0;
  // A UNIX socket has no "in progress": with a full backlog it says EAGAIN, and nothing reports
  // when there is room.
  for (;;) {
    sys = ::connect(socket.get(), to.get(), to.length) == 0 ? 0 : errno;
    if (sys != EAGAIN || to.family() != AF_UNIX) break;
    co_await loop.sleep_until(Clock::now() + 5ms);
  }
  if (sys == EINPROGRESS || sys == EINTR) {
    co_await loop.ready(socket.get(), Interest::write);
    sys = pending_error(socket.get());
  }
  if (sys == 0 && is_connected_to_itself(socket.get())) sys = ECONNREFUSED;
  if (sys != 0) co_return connect_failed(sys, std::move(act));
  co_await make_blocking(socket.get(), act);
  co_return std::move(socket);
}

Result<void> set_option(int socket, int level, int option, int value, const std::string& act) {
  if (::setsockopt(socket, level, option, &value, sizeof value) == 0) return {};
  return fail_sys(Errc::system, errno, act + ": set an option of the socket");
}

Result<void> make_blocking(int socket, const std::string& act) {
  const int flags = ::fcntl(socket, F_GETFL);
  if (flags >= 0 && ::fcntl(socket, F_SETFL, flags & ~O_NONBLOCK) == 0) return {};
  return fail_sys(Errc::system, errno, act + ": make the socket blocking");
}

}  // namespace ferry
