// The channel over a connected stream socket, whatever its family.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/cancel_reason.h"
#include "base/iovec_window.h"
#include "channels/low_water.h"
#include "channels/zero_copy.h"
#include "ferry/channel.h"
#include "ferry/result.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// A connected stream socket. Calls block in the kernel, in plain sendmsg and recvmsg; the Pollable
/// facet passes MSG_DONTWAIT and never changes the descriptor, whose file description other
/// processes may share.
///
/// How it ends:
/// - finish() is shutdown(SHUT_WR); the peer reads 0 after the last byte.
/// - Destroyed without a finish(), a TCP socket is reset: the peer reads what had arrived, then
///   Errc::disconnected. AF_UNIX knows a reset only when bytes were left unread; else such a peer
///   reads 0, as it also does from the sockets of a process that was killed, and AF_VSOCK knows
///   none. So 0 proves no more than that nothing follows, and protocols end with words of their
///   own.
/// - After cancel() the peer may see either, depending on what was on the way. A writer that is
///   blocked there is told at once by AF_UNIX, and by TCP at the latest when the channel is
///   destroyed: nothing answers with a reset where the window is wholly closed.
///
/// A failure belongs to its direction: each repeats its own first one, and a cut line soon gives
/// both theirs. cancel() fails all that has not failed before.
class SocketChannel final : public Channel,
                            private FdPassing,
                            private ZeroCopyIo,
                            private BulkRead {
 public:
  /// `socket` is connected, of type SOCK_STREAM.
  SocketChannel(UniqueFd socket, ChannelInfo info);
  ~SocketChannel() override;

  Result<std::size_t> read_some(std::span<const iovec> into) override;
  Result<void> write(std::span<const iovec> from, Loan loan = Loan::none) override;
  Result<void> flush() override;
  Result<void> finish() override;
  void cancel(Errc why = Errc::cancelled) noexcept override;
  const ChannelInfo& info() const noexcept override { return info_; }
  Facets facets() noexcept override {
    return {.placed_io = nullptr,
            .pollable = this,
            .zero_copy = passes_fds_ ? nullptr : this,  // AF_UNIX always copies
            .fd_passing = passes_fds_ ? this : nullptr,
            .bulk_read = passes_fds_ ? nullptr : this};
  }

 private:
  Result<Step> try_read_some(std::span<const iovec> into) override;
  Result<Step> try_write_some(std::span<const iovec> from) override;
  int fd() const noexcept override { return fd_.get(); }
  bool worthwhile() noexcept override { return zero_copy_.worthwhile(); }
  void insist() noexcept override { zero_copy_.insist(); }
  std::uint64_t zero_copy_fallbacks() const noexcept override { return zero_copy_.fallbacks(); }

  Result<std::size_t> read_bulk(std::span<const iovec> into, std::size_t enough) override;

  Result<Received> read_some_with_fds(std::span<const iovec> into) override;
  Result<void> write_with_fds(std::span<const iovec> from, std::span<const int> fds) override;
  Result<ReceivedStep> try_read_some_with_fds(std::span<const iovec> into) override;
  Result<Step> try_write_some_with_fds(std::span<const iovec> from,
                                       std::span<const int> fds) override;

  Result<Step> receive(std::span<const iovec> into, msghdr& message, int flags);
  Result<ReceivedStep> receive_with_fds(std::span<const iovec> into, int flags);
  Result<void> write_all(std::span<const iovec> from, std::span<const int> fds, Loan loan);
  Result<Step> send(IovecWindow& from, std::span<const int> fds, int flags);
  Result<void> check_fds(std::span<const iovec> from, std::span<const int> fds) const;
  Result<Step> end_of_reading();
  Result<void> check_writing();
  std::unexpected<Error> reading_failed(int sys);
  std::unexpected<Error> writing_failed(int sys);
  bool hung_up() const noexcept;
  void wait_for(short events, int milliseconds = -1) const noexcept;

  const UniqueFd fd_;
  const ChannelInfo info_;
  const bool passes_fds_;        // AF_UNIX
  const std::string read_act_;   // "read from tcp://node7:4446"
  const std::string write_act_;  // "write to ..."
  CancelReason cancelled_;

  ZeroCopyAccount zero_copy_{fd_.get()};  // the writing thread's
  LowWater low_water_{fd_.get()};         // the reading thread's
  std::optional<Error> read_failure_;     // the reading thread's
  std::optional<Error> write_failure_;    // the writing thread's
  std::atomic<bool> finished_ = false;    // pairs with end_of_reading()

  // Held while a thread is in sendmsg: see end_of_reading().
  std::mutex sending_;
  bool reset_seen_by_writer_ = false;  // guarded by sending_
};

/// Two ends of one line within this process (socketpair). Errc::system.
Result<std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>>> make_socket_pair();

}  // namespace ferry
