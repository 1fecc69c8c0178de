// The channel over two descriptors, one for each direction.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/cancel_reason.h"
#include "ferry/channel.h"
#include "ferry/result.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// Two pipes, or sockets of which each is used one way. Whoever gave them to us may share their
/// file descriptions, which are never changed: instead of O_NONBLOCK each call is preceded by a
/// poll(), beside an eventfd that cancel() makes readable. A write is in pieces of PIPE_BUF, of
/// which a pipe that can be written to takes one without blocking.
///
/// How it ends:
/// - finish() closes the end that we write to.
/// - A pipe does not tell a peer that finished from one that is gone: both read as 0, but where
///   the peer has left bytes of ours unread, and we have not finished, it is Errc::disconnected.
/// - cancel() is heard of by a blocked peer when the channel is destroyed.
///
/// SIGPIPE is kept from the thread that writes, and its mask is left as it was.
class PipeChannel final : public Channel {
 public:
  /// Errc::system where there is no eventfd to be had.
  static Result<std::unique_ptr<Channel>> create(UniqueFd in, UniqueFd out, ChannelInfo info);

  Result<std::size_t> read_some(std::span<const iovec> into) override;
  Result<void> write(std::span<const iovec> from, Loan loan = Loan::none) override;
  Result<void> flush() override { return check_writing(); }
  Result<void> finish() override;
  void cancel(Errc why = Errc::cancelled) noexcept override;
  const ChannelInfo& info() const noexcept override { return info_; }

 private:
  PipeChannel(UniqueFd in, UniqueFd out, UniqueFd wake, ChannelInfo info);
  Result<void> wait(int fd, short events, const std::string& act) const;
  Result<std::size_t> read_failed(Error error);
  Result<void> write_failed(Error error);
  Result<void> check_writing() const;
  bool left_bytes_unread();

  const ChannelInfo info_;
  const std::string read_act_;
  const std::string write_act_;
  const UniqueFd wake_;  // an eventfd, readable after cancel()
  CancelReason cancelled_;
  std::optional<Error> read_failure_;   // the reading thread's
  std::optional<Error> write_failure_;  // the writing thread's

  std::mutex closing_;  // held while out_ is closed, or looked at by the reading thread
  UniqueFd out_;
  const UniqueFd in_;  // after out_, so that it is closed first: then unread bytes are told
};

}  // namespace ferry
