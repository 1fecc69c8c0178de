#include "channels/command_channel.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "channels/socket_channel.h"

namespace ferry {

Result<std::unique_ptr<Channel>> CommandChannel::start(const std::string& command) {
  // No pipes: a shutdown wakes whoever waits for a socket, and a pipe has none.
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return fail_sys(Errc::system, errno, "make a socket pair");
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  std::unique_ptr<Child> child = FERRY_TRY(Child::start(command, std::move(theirs)));
  // Where the bytes go from there is the command's affair: it may well encrypt them.
  ChannelInfo info{.scheme = "exec", .local = {}, .peer = "exec:" + command, .within_host = true};
  auto line = std::make_unique<SocketChannel>(std::move(ours), std::move(info));
  return std::unique_ptr<Channel>(new CommandChannel(std::move(line), std::move(child)));
}

CommandChannel::CommandChannel(std::unique_ptr<Channel> line, std::unique_ptr<Child> child)
    : line_(std::move(line)), child_(std::move(child)) {}

CommandChannel::~CommandChannel() {
  line_.reset();
  // It may still be passing on what we said last; where we were cancelled, only for a good end.
  const bool ended_well = finished_ && (peer_finished_ || !cancelled_);
  child_->end(ended_well ? Child::Ending::by_itself : Child::Ending::by_signal);
}

Result<std::size_t> CommandChannel::read_some(std::span<const iovec> into) {
  if (read_failure_) return std::unexpected(*read_failure_);
  Result<std::size_t> got = line_->read_some(into);
  if (got && *got > 0) return got;
  if (!got || has_gone()) {
    read_failure_ = failure_of_command("read from " + info().peer);
    if (read_failure_) return std::unexpected(*read_failure_);
  }
  if (got) peer_finished_ = true;
  return got;
}

Result<void> CommandChannel::write(std::span<const iovec> from, Loan loan) {
  return explained(line_->write(from, loan));
}

Result<void> CommandChannel::flush() { return explained(line_->flush()); }

Result<void> CommandChannel::finish() {
  Result<void> done = explained(line_->finish());
  if (done) finished_ = true;
  return done;
}

void CommandChannel::cancel(Errc why) noexcept {
  cancelled_ = true;
  line_->cancel(why);
  child_->hurry();
}

/// What became of a call of the writing thread.
Result<void> CommandChannel::explained(Result<void> done) {
  if (write_failure_) return std::unexpected(*write_failure_);
  if (done) return done;
  write_failure_ = failure_of_command("write to " + info().peer);
  if (!write_failure_) write_failure_ = std::move(done).error();
  return std::unexpected(*write_failure_);
}

/// Of a line that has ended. Nothing where we ended it ourselves.
std::optional<Error> CommandChannel::failure_of_command(const std::string& act) {
  if (cancelled_) return std::nullopt;
  auto why = child_->failure_within(k_explanation);
  if (!why || cancelled_) return std::nullopt;
  return Error{Errc::disconnected, 0, act + ": " + *std::move(why), {}};
}

/// Has it closed its end altogether? (Else it has finished, and may go on reading.)
bool CommandChannel::has_gone() const noexcept {
  pollfd line{.fd = line_->facets().pollable->fd(), .events = 0, .revents = 0};
  return ::poll(&line, 1, 0) == 1 && (line.revents & POLLHUP) != 0;
}

}  // namespace ferry
