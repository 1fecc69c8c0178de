#include "channels/stdio.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "channels/only_channel.h"
#include "channels/pipe_channel.h"
#include "channels/socket_channel.h"

namespace ferry {
namespace {

const std::string k_act = "use standard input and output";

std::string kind_of(int fd, const struct stat& file) {
  if (S_ISREG(file.st_mode)) return "a file";
  if (::isatty(fd) == 1) return "a terminal";
  return "neither a pipe nor a socket";
}

Result<struct stat> line_at(int fd) {
  struct stat file {};
  const std::string stream = fd == STDIN_FILENO ? "standard input" : "standard output";
  if (::fstat(fd, &file) != 0) return fail_sys(Errc::usage, errno, k_act + ": " + stream);
  if (S_ISFIFO(file.st_mode) || S_ISSOCK(file.st_mode)) return file;
  return fail(Errc::usage, k_act + ": " + stream + " is " + kind_of(fd, file),
              "stdio: is for a command that another one runs, by exec: or through a pipe");
}

/// A private copy, which no command that is run later inherits.
Result<UniqueFd> copy_of(int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!copy) return fail_sys(Errc::system, errno, k_act);
  return copy;
}

/// A pipe has ended for the peer only when nobody holds our end of it.
Result<void> leave_the_streams() {
  const UniqueFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (nothing && ::dup2(nothing.get(), STDIN_FILENO) >= 0 &&
      ::dup2(nothing.get(), STDOUT_FILENO) >= 0) {
    return {};
  }
  return fail_sys(Errc::system, errno, k_act);
}

Result<std::unique_ptr<Channel>> open_stdio() {
  const struct stat in = FERRY_TRY(line_at(STDIN_FILENO));
  const struct stat out = FERRY_TRY(line_at(STDOUT_FILENO));
  UniqueFd from = FERRY_TRY(copy_of(STDIN_FILENO));
  UniqueFd to = FERRY_TRY(copy_of(STDOUT_FILENO));
  FERRY_TRY(leave_the_streams());
  // Who is at the other end, and how far away, nobody here knows.
  ChannelInfo info{.scheme = "stdio", .local = {}, .peer = "stdio:", .within_host = true};
  const bool one_socket =
      S_ISSOCK(in.st_mode) && in.st_dev == out.st_dev && in.st_ino == out.st_ino;
  if (one_socket) return std::make_unique<SocketChannel>(std::move(from), std::move(info));
  return PipeChannel::create(std::move(from), std::move(to), std::move(info));
}

Task<std::unique_ptr<Channel>> use_stdio() {
  std::unique_ptr<Channel> channel = co_await open_stdio();
  co_return std::move(channel);
}

class StdioTransport final : public Transport {
 public:
  std::string_view scheme() const noexcept override { return "stdio"; }
  Lines lines() const noexcept override { return Lines::one; }
  Task<std::unique_ptr<Channel>> connect(EventLoop&, Uri) override { return use_stdio(); }
  Task<std::unique_ptr<Listener>> listen(EventLoop&, Uri at) override {
    std::unique_ptr<Channel> channel = co_await use_stdio();
    co_return std::make_unique<OnlyChannel>(std::move(channel), std::move(at));
  }
};

}  // namespace

std::unique_ptr<Transport> make_stdio_transport() { return std::make_unique<StdioTransport>(); }

}  // namespace ferry
