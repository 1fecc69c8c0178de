#include "seqpacket_transport.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>

namespace {

using namespace ferry;
constexpr std::size_t k_packet_bytes = 64 * 1024;

/// Such a socket ends alike when its peer has finished and when it has died. So the first byte of
/// each packet says what it is: data, or "finished".
class SeqpacketChannel final : public Channel {
 public:
  SeqpacketChannel(UniqueFd fd, const std::string& peer)
      : fd_(std::move(fd)),
        info_{.scheme = "seqpacket", .local = {}, .peer = peer, .within_host = true},
        reading_{"read from " + peer, {}},
        writing_{"write to " + peer, {}} {}

  Result<std::size_t> read_some(std::span<const iovec> into) override {
    FERRY_TRY(check(reading_));
    if (begin_ == end_ && !finished_) {
      const ssize_t got = ::recv(fd_.get(), packet_, sizeof packet_, 0);
      if (got <= 0) return failed(reading_, got < 0 ? errno : 0);
      finished_ = packet_[0] == 'f';
      begin_ = 1;
      end_ = static_cast<std::size_t>(got);
    }
    if (finished_) return 0;
    while (into.front().iov_len == 0) into = into.subspan(1);  // there is room for a byte
    const std::size_t some = std::min(into.front().iov_len, end_ - begin_);
    std::memcpy(into.front().iov_base, packet_ + begin_, some);
    begin_ += some;
    return some;
  }
  Result<void> write(std::span<const iovec> from, Loan) override {
    FERRY_TRY(check(writing_));
    for (iovec piece : from) {
      while (piece.iov_len > 0) {
        const std::size_t some = std::min(piece.iov_len, k_packet_bytes - 1);
        FERRY_TRY(send('d', {piece.iov_base, some}));
        piece = {static_cast<char*>(piece.iov_base) + some, piece.iov_len - some};
      }
    }
    return {};
  }
  Result<void> flush() override { return check(writing_); }  // nothing is ever on loan
  Result<void> finish() override { return send('f', {}); }
  /// The first reason stays, and is there before the blocked calls are woken.
  void cancel(Errc why) noexcept override {
    int none = -1;
    reason_.compare_exchange_strong(none, static_cast<int>(why));
    ::shutdown(fd_.get(), SHUT_RDWR);
  }
  const ChannelInfo& info() const noexcept override { return info_; }

 private:
  struct Direction {
    std::string act;
    std::optional<Error> failure;  // the first is final
  };

  Result<void> check(const Direction& direction) const {
    if (direction.failure) return std::unexpected(*direction.failure);
    if (reason_ < 0) return {};
    const Errc why{reason_.load()};
    return fail(why, direction.act + ": " + std::string(to_string(why)));
  }
  std::unexpected<Error> failed(Direction& direction, int sys) const {
    if (Result<void> was = check(direction); !was) return std::unexpected(was.error());
    direction.failure = Error{Errc::disconnected, sys, direction.act, {}};
    return std::unexpected(*direction.failure);
  }
  Result<void> send(char kind, iovec data) {
    FERRY_TRY(check(writing_));
    iovec pieces[] = {{&kind, 1}, data};
    const msghdr packet{{}, 0, pieces, 2, {}, 0, 0};
    if (::sendmsg(fd_.get(), &packet, MSG_NOSIGNAL) < 0) return failed(writing_, errno);
    return {};
  }

  const UniqueFd fd_;
  ChannelInfo info_;
  std::atomic<int> reason_ = -1;  // pairs with the shutdown() in cancel()
  Direction reading_, writing_;   // a thread's each; the rest is the reading thread's
  char packet_[k_packet_bytes];
  std::size_t begin_ = 0, end_ = 0;  // what is unread of it
  bool finished_ = false;            // the peer has
};

/// A socket that `call` (bind or connect) has given this address.
Result<UniqueFd> socket_at(const Uri& uri, int (*call)(int, const sockaddr*, socklen_t),
                           int flags) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  uri.path.copy(address.sun_path, sizeof address.sun_path - 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
  if (call(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  return fail_sys(Errc::unreachable, errno, "open " + uri.text());
}

class SeqpacketListener final : public Listener {
 public:
  SeqpacketListener(EventLoop& loop, Uri at, UniqueFd fd)
      : loop_(loop), at_(std::move(at)), fd_(std::move(fd)) {}
  ~SeqpacketListener() override { ::unlink(at_.path.c_str()); }

  Task<std::unique_ptr<Channel>> accept() override {
    UniqueFd fd;
    while (!(fd = UniqueFd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)))) {
      co_await loop_.ready(fd_.get(), Interest::read);
    }
    co_return std::make_unique<SeqpacketChannel>(std::move(fd), at_.text());
  }
  Uri local() const override { return at_; }

 private:
  EventLoop& loop_;
  const Uri at_;
  const UniqueFd fd_;
};

class SeqpacketTransport final : public Transport {
 public:
  std::string_view scheme() const noexcept override { return "seqpacket"; }

  Task<std::unique_ptr<Listener>> listen(EventLoop& loop, Uri at) override {
    UniqueFd fd = co_await socket_at(at, ::bind, SOCK_NONBLOCK);
    ::listen(fd.get(), 1024);
    co_return std::make_unique<SeqpacketListener>(loop, std::move(at), std::move(fd));
  }
  Task<std::unique_ptr<Channel>> connect(EventLoop&, Uri to) override {
    UniqueFd fd = co_await socket_at(to, ::connect, 0);  // which never waits, on a UNIX socket
    co_return std::make_unique<SeqpacketChannel>(std::move(fd), to.text());
  }
};

}  // namespace

std::unique_ptr<ferry::Transport> make_seqpacket_transport() {
  return std::make_unique<SeqpacketTransport>();
}
