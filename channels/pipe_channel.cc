#include "channels/pipe_channel.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cassert>
#include <cerrno>
#include <ctime>
#include <utility>

#include "base/iovec_window.h"
#include "channels/line_failure.h"

namespace ferry {
namespace {

/// While it lives, this thread gets no SIGPIPE: there is no MSG_NOSIGNAL for a pipe.
class NoSigpipe {
 public:
  NoSigpipe() noexcept {
    sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &sigpipe_, &mask_);
  }
  ~NoSigpipe() {
    const timespec at_once{};
    if (!was_pending_) {
      while (::sigtimedwait(&sigpipe_, nullptr, &at_once) < 0 && errno == EINTR) {
      }
    }
    ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  sigset_t sigpipe_;
  sigset_t mask_;
  bool was_pending_ = false;
};

bool has_no_reader(int out) noexcept {
  pollfd line{.fd = out, .events = 0, .revents = 0};
  return ::poll(&line, 1, 0) == 1 && (line.revents & (POLLERR | POLLHUP)) != 0;
}

}  // namespace

Result<std::unique_ptr<Channel>> PipeChannel::create(UniqueFd in, UniqueFd out, ChannelInfo info) {
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC));
  if (!wake) return fail_sys(Errc::system, errno, "make an eventfd");
  return std::unique_ptr<Channel>(
      new PipeChannel(std::move(in), std::move(out), std::move(wake), std::move(info)));
}

PipeChannel::PipeChannel(UniqueFd in, UniqueFd out, UniqueFd wake, ChannelInfo info)
    : info_(std::move(info)),
      read_act_("read from " + info_.peer),
      write_act_("write to " + info_.peer),
      wake_(std::move(wake)),
      out_(std::move(out)),
      in_(std::move(in)) {}

Result<std::size_t> PipeChannel::read_some(std::span<const iovec> into) {
  if (read_failure_) return std::unexpected(*read_failure_);
  IovecWindow room(into);
  assert(!room.done());
  const auto window = room.window();
  for (;;) {
    if (auto ready = wait(in_.get(), POLLIN, read_act_); !ready) {
      return read_failed(std::move(ready).error());
    }
    const ::ssize_t got = ::readv(in_.get(), window.data(), static_cast<int>(window.size()));
    if (got > 0) return static_cast<std::size_t>(got);
    if (got == 0 && left_bytes_unread()) {
      return read_failed({Errc::disconnected, 0, read_act_ + ": it was closed", {}});
    }
    if (got == 0) return 0;
    if (errno != EINTR && errno != EAGAIN) return read_failed(line_failure(errno, read_act_));
  }
}

Result<void> PipeChannel::write(std::span<const iovec> from, Loan) {
  FERRY_TRY(check_writing());
  IovecWindow rest(from);
  assert(rest.done() || out_);
  const NoSigpipe no_signal;
  while (!rest.done()) {
    if (auto ready = wait(out_.get(), POLLOUT, write_act_); !ready) {
      return write_failed(std::move(ready).error());
    }
    const auto window = rest.window(PIPE_BUF);
    const ::ssize_t put = ::writev(out_.get(), window.data(), static_cast<int>(window.size()));
    if (put >= 0) {
      rest.advance(static_cast<std::size_t>(put));
    } else if (errno != EINTR && errno != EAGAIN) {
      return write_failed(line_failure(errno, write_act_));
    }
  }
  return {};
}

Result<void> PipeChannel::finish() {
  FERRY_TRY(check_writing());
  const std::scoped_lock lock(closing_);
  ::shutdown(out_.get(), SHUT_WR);  // somebody may have a socket as well; a pipe says ENOTSOCK
  out_.reset();
  return {};
}

void PipeChannel::cancel(Errc why) noexcept {
  cancelled_.give(why);
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto told = ::write(wake_.get(), &one, sizeof one);
}

/// Until `fd` is ready (or broken: the next call says how), or cancel().
Result<void> PipeChannel::wait(int fd, short events, const std::string& act) const {
  std::array<pollfd, 2> either = {{{.fd = fd, .events = events, .revents = 0},
                                   {.fd = wake_.get(), .events = POLLIN, .revents = 0}}};
  while (::poll(either.data(), either.size(), -1) < 0) {
    if (errno != EINTR) return fail_sys(Errc::system, errno, act);
  }
  if (auto reason = cancelled_.error(act)) return std::unexpected(std::move(*reason));
  return {};
}

Result<std::size_t> PipeChannel::read_failed(Error error) {
  read_failure_ = std::move(error);
  return std::unexpected(*read_failure_);
}

Result<void> PipeChannel::write_failed(Error error) {
  write_failure_ = std::move(error);
  return std::unexpected(*write_failure_);
}

Result<void> PipeChannel::check_writing() const {
  if (write_failure_) return std::unexpected(*write_failure_);
  if (auto reason = cancelled_.error(write_act_)) return std::unexpected(std::move(*reason));
  return {};
}

/// Has the peer, which writes no more, gone without reading all that we wrote?
bool PipeChannel::left_bytes_unread() {
  const std::scoped_lock lock(closing_);
  int unread = 0;
  return out_ && has_no_reader(out_.get()) && ::ioctl(out_.get(), FIONREAD, &unread) == 0 &&
         unread > 0;
}

}  // namespace ferry
