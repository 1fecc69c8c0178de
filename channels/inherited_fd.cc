#include "channels/inherited_fd.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <string>
#include <utility>

#include "channels/listening_sockets.h"
#include "channels/only_channel.h"
#include "channels/socket_channel.h"
#include "channels/tcp_socket.h"
#include "loop/socket_address.h"

namespace ferry {
namespace {

int option_of(int socket, int option) noexcept {
  int value = -1;
  socklen_t length = sizeof value;
  return ::getsockopt(socket, SOL_SOCKET, option, &value, &length) == 0 ? value : -1;
}

bool listens(int socket) noexcept { return option_of(socket, SO_ACCEPTCONN) == 1; }

bool is_internet(int socket) noexcept {
  const int domain = option_of(socket, SO_DOMAIN);
  return domain == AF_INET || domain == AF_INET6;
}

/// Takes the socket over, once it is known to be one.
Result<UniqueFd> take_socket(const Uri& uri, const std::string& act) {
  int fd = -1;
  std::from_chars(uri.path.data(), uri.path.data() + uri.path.size(), fd);  // Uri has checked it
  if (fd <= STDERR_FILENO) return fail(Errc::usage, act + ": a standard stream", "write stdio:");
  if (::fcntl(fd, F_GETFD) < 0) {
    return fail_sys(Errc::usage, errno, act, "was it left open for this command?");
  }
  if (option_of(fd, SO_TYPE) != SOCK_STREAM) {
    return fail(Errc::usage, act + ": it is not a stream socket");
  }
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return fail_sys(Errc::system, errno, act);
  return UniqueFd(fd);
}

/// A channel over a socket that is connected.
Result<std::unique_ptr<Channel>> over(UniqueFd socket, std::string local, const std::string& act) {
  ChannelInfo info{.scheme = "fd", .local = local, .peer = local};
  info.within_host = option_of(socket.get(), SO_DOMAIN) == AF_UNIX;
  if (is_internet(socket.get())) {
    FERRY_TRY(set_line_options(socket.get(), act));
    info.local = uri_text("tcp", local_address(socket.get()));
    info.peer = uri_text("tcp", peer_address(socket.get()));
  }
  return std::make_unique<SocketChannel>(std::move(socket), std::move(info));
}

Result<std::unique_ptr<Channel>> over_connected(UniqueFd socket, const Uri& uri,
                                                const std::string& act) {
  if (peer_address(socket.get()).length == 0) {
    return fail(Errc::usage, act + ": it is not connected");
  }
  return over(std::move(socket), uri.text(), act);
}

/// The name of a UNIX socket as unix:// has it; empty where it has none.
std::string unix_name(const SocketAddress& address) {
  const auto& name = reinterpret_cast<const sockaddr_un&>(address.storage);
  const std::size_t before = offsetof(sockaddr_un, sun_path);
  if (address.length <= before) return {};
  std::string path(name.sun_path, address.length - before);
  if (path.front() == '\0') {
    path.front() = '@';
  } else {
    path.resize(std::min(path.find('\0'), path.size()));
  }
  return path;
}

/// Where a sender on this host finds a socket that listens; `otherwise` for one without a name.
Uri address_of(int socket, const Uri& otherwise) {
  const SocketAddress address = local_address(socket);
  Uri uri;
  if (is_internet(socket)) {
    uri.scheme = "tcp";
    uri.host = is_any(address) ? "localhost" : host_text(address);
    uri.port = port_of(address);
    return uri;
  }
  uri.scheme = "unix";
  if (address.family() == AF_UNIX) uri.path = unix_name(address);
  return uri.path.empty() ? otherwise : uri;
}

class InheritedListener final : public Listener {
 public:
  InheritedListener(EventLoop& loop, UniqueFd socket, const Uri& uri)
      : loop_(loop),
        local_(address_of(socket.get(), uri)),
        reach_(reach_of(local_address(socket.get()))),
        sockets_(std::move(socket)) {}

  Task<std::unique_ptr<Channel>> accept() override {
    std::string act = "accept on " + local_.text();
    UniqueFd fd = co_await sockets_.accept(loop_, act);
    std::unique_ptr<Channel> channel = co_await over(std::move(fd), local_.text(), act);
    co_return std::move(channel);
  }
  Uri local() const override { return local_; }
  Reach reach() const noexcept override { return reach_; }

 private:
  EventLoop& loop_;
  const Uri local_;
  const Reach reach_;
  ListeningSockets sockets_;
};

class FdTransport final : public Transport {
 public:
  std::string_view scheme() const noexcept override { return "fd"; }
  Lines lines() const noexcept override { return Lines::one; }
  Task<std::unique_ptr<Channel>> connect(EventLoop&, Uri to) override {
    const std::string act = "use " + to.text();
    UniqueFd socket = co_await take_socket(to, act);
    std::unique_ptr<Channel> channel = co_await over_connected(std::move(socket), to, act);
    co_return std::move(channel);
  }
  Task<std::unique_ptr<Listener>> listen(EventLoop& loop, Uri at) override {
    const std::string act = "use " + at.text();
    UniqueFd socket = co_await take_socket(at, act);
    if (listens(socket.get())) {
      co_return std::make_unique<InheritedListener>(loop, std::move(socket), at);
    }
    std::unique_ptr<Channel> channel = co_await over_connected(std::move(socket), at, act);
    co_return std::make_unique<OnlyChannel>(std::move(channel), std::move(at));
  }
};

}  // namespace

std::unique_ptr<Transport> make_fd_transport() { return std::make_unique<FdTransport>(); }

}  // namespace ferry
