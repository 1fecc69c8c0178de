#include "channels/buffer.h"

#include <algorithm>
#include <cassert>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel_reason.h"
#include "base/iovec_window.h"

namespace ferry {
namespace {

constexpr const char* k_read_act = "read from a buffer pair";
constexpr const char* k_write_act = "write to a buffer pair";

Error cut(std::string act) {
  return {Errc::disconnected, 0, std::move(act) + ": the other end is gone", {}};
}

/// Bytes in the order in which they were put in, at most as many as there is room for.
class Ring {
 public:
  explicit Ring(std::size_t capacity) : bytes_(capacity) {}

  bool empty() const noexcept { return used_ == 0; }
  bool full() const noexcept { return used_ == bytes_.size(); }

  /// As many bytes as there is room for, and how many those were.
  std::size_t put(std::span<const iovec> from) noexcept {
    return each(from, [this](std::byte* data, std::size_t most) {
      const std::size_t end = (first_ + used_) % bytes_.size();
      const std::size_t room = std::min(bytes_.size() - used_, bytes_.size() - end);
      const std::size_t length = std::min(most, room);
      std::memcpy(&bytes_[end], data, length);
      used_ += length;
      return length;
    });
  }

  /// As many bytes as are there, and fit.
  std::size_t take(std::span<const iovec> into) noexcept {
    return each(into, [this](std::byte* data, std::size_t most) {
      const std::size_t length = std::min({most, used_, bytes_.size() - first_});
      std::memcpy(data, &bytes_[first_], length);
      first_ = (first_ + length) % bytes_.size();
      used_ -= length;
      return length;
    });
  }

 private:
  /// Calls `copy` on each piece until it moves nothing more. A piece may need two calls, where the
  /// ring wraps.
  template <class Copy>
  static std::size_t each(std::span<const iovec> pieces, Copy copy) noexcept {
    std::size_t sum = 0;
    for (const iovec& piece : pieces) {
      std::size_t done = 0;
      while (done < piece.iov_len) {
        auto* data = static_cast<std::byte*>(piece.iov_base) + done;
        const std::size_t length = copy(data, piece.iov_len - done);
        if (length == 0) return sum;
        done += length;
        sum += length;
      }
    }
    return sum;
  }

  std::vector<std::byte> bytes_;
  std::size_t first_ = 0;
  std::size_t used_ = 0;
};

/// What both ends share; a mutex for all of it.
struct Line {
  struct Direction {
    explicit Direction(std::size_t capacity) : ring(capacity) {}
    Ring ring;
    bool finished = false;     // the writer said so
    bool writer_gone = false;  // destroyed or cancelled
    bool reader_gone = false;
    std::condition_variable readable;  // wakes the one reader
    std::condition_variable writable;  // wakes the one writer
  };

  explicit Line(std::size_t capacity) : one(capacity), other(capacity) {}

  std::mutex mutex;
  Direction one;
  Direction other;
};

class BufferChannel final : public Channel {
 public:
  /// The line is shared because either end may be the last.
  BufferChannel(std::shared_ptr<Line> line, Line::Direction& in, Line::Direction& out)
      : line_(std::move(line)), in_(in), out_(out) {}

  ~BufferChannel() override { leave(); }

  Result<std::size_t> read_some(std::span<const iovec> into) override;
  Result<void> write(std::span<const iovec> from, Loan loan = Loan::none) override;
  Result<void> flush() override;
  Result<void> finish() override;
  void cancel(Errc why = Errc::cancelled) noexcept override {
    cancelled_.give(why);
    leave();
  }
  const ChannelInfo& info() const noexcept override { return info_; }

 private:
  void leave() noexcept;
  Result<void> check_writing();  // with the line's mutex held

  const ChannelInfo info_{
      .scheme = "buffer", .local = "a buffer pair", .peer = "a buffer pair", .within_host = true};
  CancelReason cancelled_;
  std::shared_ptr<Line> line_;
  Line::Direction& in_;
  Line::Direction& out_;
  std::optional<Error> read_failure_;   // the reading thread's
  std::optional<Error> write_failure_;  // the writing thread's
};

Result<std::size_t> BufferChannel::read_some(std::span<const iovec> into) {
  assert(total_bytes(into) > 0);
  std::unique_lock lock(line_->mutex);
  if (read_failure_) return std::unexpected(*read_failure_);
  in_.readable.wait(lock, [this] {
    return cancelled_.given() || !in_.ring.empty() || in_.finished || in_.writer_gone;
  });
  if (auto reason = cancelled_.error(k_read_act)) return std::unexpected(std::move(*reason));
  if (!in_.ring.empty()) {
    const std::size_t bytes = in_.ring.take(into);
    in_.writable.notify_one();
    return bytes;
  }
  if (in_.finished) return 0;
  read_failure_ = cut(k_read_act);
  return std::unexpected(*read_failure_);
}

Result<void> BufferChannel::write(std::span<const iovec> from, Loan) {
  IovecWindow rest(from);
  std::unique_lock lock(line_->mutex);
  FERRY_TRY(check_writing());
  assert(!out_.finished);
  while (!rest.done()) {
    out_.writable.wait(
        lock, [this] { return cancelled_.given() || !out_.ring.full() || out_.reader_gone; });
    FERRY_TRY(check_writing());
    rest.advance(out_.ring.put(rest.window()));
    out_.readable.notify_one();
  }
  return {};
}

Result<void> BufferChannel::flush() {
  const std::lock_guard lock(line_->mutex);
  return check_writing();
}

Result<void> BufferChannel::finish() {
  const std::lock_guard lock(line_->mutex);
  FERRY_TRY(check_writing());
  out_.finished = true;
  out_.readable.notify_one();
  return {};
}

Result<void> BufferChannel::check_writing() {
  if (write_failure_) return std::unexpected(*write_failure_);
  if (auto reason = cancelled_.error(k_write_act)) return std::unexpected(std::move(*reason));
  if (!out_.reader_gone) return {};
  write_failure_ = cut(k_write_act);
  return std::unexpected(*write_failure_);
}

/// Lets go of the line: the peer hears of it, and so do calls on this end that are blocked.
void BufferChannel::leave() noexcept {
  const std::lock_guard lock(line_->mutex);
  out_.writer_gone = true;
  in_.reader_gone = true;
  for (Line::Direction* direction : {&in_, &out_}) {
    direction->readable.notify_one();
    direction->writable.notify_one();
  }
}

}  // namespace

std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>> make_buffer_pair(
    std::size_t capacity) {
  assert(capacity > 0);
  auto line = std::make_shared<Line>(capacity);
  return {std::make_unique<BufferChannel>(line, line->one, line->other),
          std::make_unique<BufferChannel>(line, line->other, line->one)};
}

}  // namespace ferry
