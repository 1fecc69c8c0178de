#include "channels/unix.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "base/refuse_options.h"
#include "channels/listening_sockets.h"
#include "channels/socket_channel.h"
#include "channels/socket_connect.h"
#include "ferry/event_loop.h"
#include "loop/socket_address.h"

namespace ferry {
namespace {

/// None for an abstract name, too: a file may be called '@name', but is not that socket's.
std::optional<struct stat> socket_file_at(const std::string& path) noexcept {
  struct stat file {};
  if (path.starts_with('@')) return std::nullopt;
  if (::lstat(path.c_str(), &file) != 0 || !S_ISSOCK(file.st_mode)) return std::nullopt;
  return file;
}

/// The file of a bound socket: unlinked in the end, unless the path has become somebody else's.
class SocketFile {
 public:
  explicit SocketFile(std::string path) : path_(std::move(path)), file_(socket_file_at(path_)) {}
  SocketFile(SocketFile&& other) noexcept
      : path_(std::move(other.path_)), file_(std::exchange(other.file_, std::nullopt)) {}
  SocketFile& operator=(SocketFile&&) = delete;
  ~SocketFile() {
    if (!file_) return;
    // The number cannot have been given to another file: our socket still holds the inode.
    const auto now = socket_file_at(path_);
    if (now && now->st_dev == file_->st_dev && now->st_ino == file_->st_ino) {
      ::unlink(path_.c_str());
    }
  }

 private:
  std::string path_;
  std::optional<struct stat> file_;
};

/// Is the file at `path` a socket that belongs to no process any more? Asked with a datagram
/// socket: a stream listener refuses that for its type, and is not bothered with a connection. What
/// we may not look into is not ours to judge.
bool is_stale(const std::string& path, const SocketAddress& address) {
  if (!socket_file_at(path)) return false;
  const UniqueFd probe(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  return probe && ::connect(probe.get(), address.get(), address.length) != 0 &&
         errno == ECONNREFUSED;
}

/// A socket that listens at `path`, in the place of a stale one if need be.
Result<UniqueFd> listen_at(const std::string& path, const std::string& act) {
  const SocketAddress address = FERRY_TRY(unix_address(path, act));
  UniqueFd fd = FERRY_TRY(open_stream_socket(AF_UNIX, act));
  int sys = ::bind(fd.get(), address.get(), address.length) == 0 ? 0 : errno;
  if (sys == EADDRINUSE && is_stale(path, address)) {
    ::unlink(path.c_str());
    sys = ::bind(fd.get(), address.get(), address.length) == 0 ? 0 : errno;
  }
  if (sys == 0 && ::listen(fd.get(), ListeningSockets::k_backlog) != 0) sys = errno;
  if (sys == 0) return fd;
  return fail_sys(
      Errc::unreachable, sys, act,
      sys == EADDRINUSE ? "is another migrate-recv running, or is it another file?" : "");
}

/// An accepted peer has no address of its own, but its kernel knows who it is.
std::string name_of_peer(int fd, const std::string& at) {
  ucred who{};
  socklen_t length = sizeof who;
  const bool known = ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) == 0 && who.pid > 0;
  return (known ? "process " + std::to_string(who.pid) : "a process") + " on " + at;
}

class UnixListener final : public Listener {
 public:
  UnixListener(EventLoop& loop, UniqueFd fd, Uri at)
      : loop_(loop), sockets_(std::move(fd)), file_(at.path), local_(std::move(at)) {}

  Task<std::unique_ptr<Channel>> accept() override {
    std::string act = "accept on " + local_.text();
    UniqueFd fd = co_await sockets_.accept(loop_, std::move(act));
    const std::string at = local_.text();
    ChannelInfo info{
        .scheme = "unix", .local = at, .peer = name_of_peer(fd.get(), at), .within_host = true};
    co_return std::make_unique<SocketChannel>(std::move(fd), std::move(info));
  }

  Uri local() const override { return local_; }
  Reach reach() const noexcept override { return Reach::this_host; }

 private:
  EventLoop& loop_;
  ListeningSockets sockets_;
  SocketFile file_;  // after sockets_: its inode is looked at before the socket is closed
  Uri local_;
};

Task<std::unique_ptr<Channel>> connect_unix(EventLoop& loop, Uri to) {
  std::string act = "connect " + to.shown();
  co_await refuse_options(to, act);
  SocketAddress address = co_await unix_address(to.path, act);
  UniqueFd fresh = co_await open_stream_socket(AF_UNIX, act);
  UniqueFd fd = co_await connect_socket(loop, std::move(fresh), address, std::move(act));
  ChannelInfo info{.scheme = "unix", .local = {}, .peer = to.text(), .within_host = true};
  co_return std::make_unique<SocketChannel>(std::move(fd), std::move(info));
}

Task<std::unique_ptr<Listener>> listen_unix(EventLoop& loop, Uri at) {
  std::string act = "listen on " + at.shown();
  co_await refuse_options(at, act);
  UniqueFd fd = co_await listen_at(at.path, act);
  co_return std::make_unique<UnixListener>(loop, std::move(fd), std::move(at));
}

class UnixTransport final : public Transport {
 public:
  std::string_view scheme() const noexcept override { return "unix"; }
  std::optional<TransportAbilities> abilities() const noexcept override {
    return TransportAbilities{.fd_passing = true};
  }
  Task<std::unique_ptr<Channel>> connect(EventLoop& loop, Uri to) override {
    return connect_unix(loop, std::move(to));
  }
  Task<std::unique_ptr<Listener>> listen(EventLoop& loop, Uri at) override {
    return listen_unix(loop, std::move(at));
  }
};

}  // namespace

std::unique_ptr<Transport> make_unix_transport() { return std::make_unique<UnixTransport>(); }

}  // namespace ferry
