#include "channels/socket_channel.h"

#include <poll.h>

#include <array>
#include <cassert>
#include <cerrno>

#include "base/iovec_window.h"
#include "channels/fd_message.h"
#include "channels/line_failure.h"

namespace ferry {
namespace {

// A line that brings less than what is waited for in this time is not one that wakings limit.
constexpr int k_bulk_patience_ms = 100;

bool is_unix(int socket) noexcept {
  int family = 0;
  socklen_t length = sizeof family;
  return ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &length) == 0 && family == AF_UNIX;
}

void put(std::span<const iovec> pieces, msghdr& into) noexcept {
  into.msg_iov = const_cast<iovec*>(pieces.data());  // the kernel does not write to the list
  into.msg_iovlen = pieces.size();
}

}  // namespace

SocketChannel::SocketChannel(UniqueFd socket, ChannelInfo info)
    : fd_(std::move(socket)),
      info_(std::move(info)),
      passes_fds_(is_unix(fd_.get())),
      read_act_("read from " + info_.peer),
      write_act_("write to " + info_.peer) {}

SocketChannel::~SocketChannel() {
  if (finished_) return;
  // close(2) would send the same FIN as a finish, and claim that all was said.
  const linger reset_on_close{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &reset_on_close, sizeof reset_on_close);
}

Result<std::size_t> SocketChannel::read_some(std::span<const iovec> into) {
  for (;;) {
    msghdr message{};
    // A recvmsg that blocks heeds the mark; one that finds nothing takes it down.
    const Step step = FERRY_TRY(receive(into, message, low_water_.raised() ? MSG_DONTWAIT : 0));
    if (step.wait_for == Interest::none) return step.bytes;
    wait_for(POLLIN);
  }
}

Result<std::size_t> SocketChannel::read_bulk(std::span<const iovec> into, std::size_t enough) {
  for (;;) {
    low_water_.set(enough);
    wait_for(POLLIN, k_bulk_patience_ms);
    msghdr message{};
    const Step step = FERRY_TRY(receive(into, message, MSG_DONTWAIT));
    if (step.wait_for == Interest::none) {
      low_water_.set(1);  // who polls the descriptor next may want less
      return step.bytes;
    }
  }
}

Result<FdPassing::Received> SocketChannel::read_some_with_fds(std::span<const iovec> into) {
  for (;;) {
    ReceivedStep received = FERRY_TRY(receive_with_fds(into, 0));
    if (received.step.wait_for == Interest::none) {
      return Received{.bytes = received.step.bytes, .fds = std::move(received.fds)};
    }
    wait_for(POLLIN);
  }
}

Result<void> SocketChannel::write(std::span<const iovec> from, Loan loan) {
  return write_all(from, {}, loan);
}

Result<void> SocketChannel::write_with_fds(std::span<const iovec> from, std::span<const int> fds) {
  FERRY_TRY(check_fds(from, fds));
  return write_all(from, fds, Loan::none);
}

Result<void> SocketChannel::write_all(std::span<const iovec> from, std::span<const int> fds,
                                      Loan loan) {
  IovecWindow rest(from);
  do {
    const bool lending = loan == Loan::until_flush && zero_copy_.worthwhile();
    if (lending) zero_copy_.collect();  // unread notifications use up what the socket may lock
    const Step step = FERRY_TRY(send(rest, fds, lending ? MSG_ZEROCOPY : 0));
    if (step.wait_for != Interest::none) wait_for(POLLOUT);
    if (step.bytes > 0) fds = {};  // they have gone with the first of them
    rest.advance(step.bytes);
  } while (!rest.done());
  return {};
}

/// Waits for the peer's acknowledgement of all that is on loan: a round trip.
Result<void> SocketChannel::flush() {
  FERRY_TRY(check_writing());
  zero_copy_.collect();
  while (zero_copy_.outstanding()) {
    pollfd line{.fd = fd_.get(), .events = 0, .revents = 0};
    ::poll(&line, 1, -1);  // notifications are POLLERR; the shutdown in cancel() is POLLHUP
    FERRY_TRY(check_writing());
    zero_copy_.collect();
    // A line that is gone is given back by and by; nothing that is said there matters any more.
    if (zero_copy_.outstanding() && (line.revents & POLLHUP) != 0) return writing_failed(EPIPE);
  }
  return {};
}

Result<void> SocketChannel::finish() {
  FERRY_TRY(check_writing());
  // Before the shutdown: a reader that finds both directions ended must know that one end is ours.
  finished_ = true;
  if (::shutdown(fd_.get(), SHUT_WR) != 0) return writing_failed(errno);
  return {};
}

void SocketChannel::cancel(Errc why) noexcept {
  cancelled_.give(why);
  ::shutdown(fd_.get(), SHUT_RDWR);  // wakes whoever is in recvmsg, sendmsg or poll
}

Result<Pollable::Step> SocketChannel::try_read_some(std::span<const iovec> into) {
  msghdr message{};
  return receive(into, message, MSG_DONTWAIT);
}

Result<Pollable::Step> SocketChannel::try_write_some(std::span<const iovec> from) {
  IovecWindow rest(from);
  return send(rest, {}, MSG_DONTWAIT);
}

Result<FdPassing::ReceivedStep> SocketChannel::try_read_some_with_fds(std::span<const iovec> into) {
  return receive_with_fds(into, MSG_DONTWAIT);
}

Result<Pollable::Step> SocketChannel::try_write_some_with_fds(std::span<const iovec> from,
                                                              std::span<const int> fds) {
  FERRY_TRY(check_fds(from, fds));
  IovecWindow rest(from);
  return send(rest, fds, MSG_DONTWAIT);
}

/// One recvmsg. `message` may have room for control data; what came of it is in there when there
/// are bytes. Without such room the kernel closes descriptors that come.
Result<Pollable::Step> SocketChannel::receive(std::span<const iovec> into, msghdr& message,
                                              int flags) {
  if (read_failure_) return std::unexpected(*read_failure_);
  if (auto reason = cancelled_.error(read_act_)) return std::unexpected(std::move(*reason));

  IovecWindow room(into);
  assert(!room.done());
  const auto window = room.window();
  put(window, message);
  ssize_t bytes = 0;
  do {
    bytes = ::recvmsg(fd_.get(), &message, flags);
  } while (bytes < 0 && errno == EINTR);
  if (bytes > 0) return Step{.bytes = static_cast<std::size_t>(bytes)};
  if (bytes == 0) return end_of_reading();
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    low_water_.set(1);  // whoever waits now waits for the first byte
    return Step{.wait_for = Interest::read};
  }
  return reading_failed(errno);
}

Result<FdPassing::ReceivedStep> SocketChannel::receive_with_fds(std::span<const iovec> into,
                                                                int flags) {
  FdMessage room;
  msghdr message{};
  room.make_room(message);
  ReceivedStep received{.step = FERRY_TRY(receive(into, message, flags | MSG_CMSG_CLOEXEC)),
                        .fds = {}};
  if (received.step.bytes == 0) return received;
  received.fds = FdMessage::take(message);
  if ((message.msg_flags & MSG_CTRUNC) == 0) return received;
  read_failure_ = Error{Errc::system, 0, read_act_ + ": descriptors came that could not be taken",
                        "has the process too many open? see ulimit -n"};
  return std::unexpected(*read_failure_);
}

/// What a recvmsg of 0 means: our own cancel(), a cut, or the peer's finish.
///
/// The kernel reports a reset once, to whichever direction calls first; the other one finds an end
/// that looks like the peer's finish. So where both directions have ended, and not by our doing,
/// the reader asks what the writer was told. A writer that is still in its call is about to be
/// told: it cannot be blocked on a line that is gone.
Result<Pollable::Step> SocketChannel::end_of_reading() {
  if (auto reason = cancelled_.error(read_act_)) return std::unexpected(std::move(*reason));
  if (hung_up() && !finished_) {
    const std::lock_guard writer_is_out(sending_);
    if (reset_seen_by_writer_) return reading_failed(ECONNRESET);
  }
  return Step{};
}

Result<void> SocketChannel::check_fds(std::span<const iovec> from, std::span<const int> fds) const {
  if (fds.size() > k_most) {
    return fail(Errc::usage, write_act_ + ": " + std::to_string(fds.size()) +
                                 " descriptors at once, and the most is " + std::to_string(k_most));
  }
  if (fds.empty() || total_bytes(from) > 0) return {};
  return fail(Errc::usage, write_act_ + ": descriptors need a byte to go with");
}

/// One sendmsg. Does not advance `from`. With nothing to send it only says how writing stands.
Result<Pollable::Step> SocketChannel::send(IovecWindow& from, std::span<const int> fds, int flags) {
  FERRY_TRY(check_writing());
  if (from.done()) return Step{};
  assert(!finished_);

  const auto window = from.window();
  msghdr message{};
  put(window, message);
  FdMessage with_it;
  if (!fds.empty()) with_it.put(fds, message);
  const std::lock_guard in_call(sending_);
  ssize_t bytes = 0;
  do {
    bytes = ::sendmsg(fd_.get(), &message, flags | MSG_NOSIGNAL);
    if (bytes < 0 && errno == ENOBUFS && (flags & MSG_ZEROCOPY) != 0) {
      zero_copy_.copied_instead();
      flags &= ~MSG_ZEROCOPY;
      errno = EINTR;
    }
  } while (bytes < 0 && errno == EINTR);
  if (bytes >= 0) {
    if ((flags & MSG_ZEROCOPY) != 0) zero_copy_.lent();
    // AF_UNIX drops the error that ended a call early, once some bytes have gone.
    const auto sent = static_cast<std::size_t>(bytes);
    if (sent < total_bytes(window) && hung_up()) reset_seen_by_writer_ = true;
    return Step{.bytes = sent};
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) return Step{.wait_for = Interest::write};
  // EPIPE is no news of a reset: a peer that finished and then closed gives it, too.
  if (is_cut(errno) && errno != EPIPE) reset_seen_by_writer_ = true;
  return writing_failed(errno);
}

Result<void> SocketChannel::check_writing() {
  if (write_failure_) return std::unexpected(*write_failure_);
  if (auto reason = cancelled_.error(write_act_)) return std::unexpected(std::move(*reason));
  return {};
}

std::unexpected<Error> SocketChannel::reading_failed(int sys) {
  auto reason = cancelled_.error(read_act_);
  read_failure_ = reason ? std::move(*reason) : line_failure(sys, read_act_);
  return std::unexpected(*read_failure_);
}

std::unexpected<Error> SocketChannel::writing_failed(int sys) {
  auto reason = cancelled_.error(write_act_);
  write_failure_ = reason ? std::move(*reason) : line_failure(sys, write_act_);
  return std::unexpected(*write_failure_);
}

bool SocketChannel::hung_up() const noexcept {
  pollfd line{.fd = fd_.get(), .events = 0, .revents = 0};
  return ::poll(&line, 1, 0) == 1 && (line.revents & POLLHUP) != 0;
}

/// Woken by the shutdown in cancel(). Without a time it is for a descriptor that somebody else made
/// non-blocking.
void SocketChannel::wait_for(short events, int milliseconds) const noexcept {
  pollfd line{.fd = fd_.get(), .events = events, .revents = 0};
  ::poll(&line, 1, milliseconds);  // an interrupted wait only means one more try
}

Result<std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>>> make_socket_pair() {
  std::array<int, 2> fds{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) {
    return fail_sys(Errc::system, errno, "make a socket pair");
  }
  const ChannelInfo info{
      .scheme = "unix", .local = "a socket pair", .peer = "a socket pair", .within_host = true};
  UniqueFd one(fds[0]);
  UniqueFd other(fds[1]);
  return std::pair{std::make_unique<SocketChannel>(std::move(one), info),
                   std::make_unique<SocketChannel>(std::move(other), info)};
}

}  // namespace ferry
