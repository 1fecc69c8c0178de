#include "multifd/link.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/iovec_window.h"

namespace ferry {
namespace {

constexpr std::size_t k_ahead_bytes = 4 * 1024;
// Less is not worth the system calls that it takes to wait for all of it.
constexpr std::size_t k_bulk_bytes = 64 * 1024;

}  // namespace

Link::Link(std::unique_ptr<Channel> channel, Liveness& liveness)
    : channel_(std::move(channel)), liveness_(liveness), ahead_(k_ahead_bytes) {}

Result<void> Link::write(std::span<const iovec> message) {
  const std::scoped_lock lock(writing_);
  if (finished_) return all_was_said();
  return channel_->write(message);
}

Result<void> Link::write(std::span<const iovec> message, std::span<const iovec> lent) {
  const std::scoped_lock lock(writing_);
  if (finished_) return all_was_said();
  FERRY_TRY(channel_->write(message));
  return channel_->write(lent, Loan::until_flush);
}

Result<void> Link::flush() {
  const std::scoped_lock lock(writing_);
  if (PlacedIo* const io = channel_->facets().placed_io) FERRY_TRY(io->flush());
  return channel_->flush();
}

/// Without the lock: it takes as long as the memory is large, and on a solo channel heartbeats go
/// meanwhile.
Result<void> Link::attach(const GuestMemory& memory) {
  return channel_->facets().placed_io->attach(memory);
}

Result<std::span<std::byte>> Link::staging() {
  const std::scoped_lock lock(writing_);
  return channel_->facets().placed_io->staging(PlacedIo::k_staging_bytes);
}

Result<void> Link::put(const wire::PacketHeader& packet, std::span<const iovec> payload) {
  const std::scoped_lock lock(writing_);
  if (finished_) return all_was_said();
  PlacedIo& io = *channel_->facets().placed_io;
  auto piece = payload.begin();
  for (const wire::WireRun& run : packet.runs) {
    if (run.kind != wire::RunKind::raw) continue;
    FERRY_TRY(io.put(run.run, {static_cast<const std::byte*>(piece->iov_base), piece->iov_len}));
    ++piece;
  }
  return {};
}

Result<void> Link::settle() {
  const std::scoped_lock lock(writing_);
  return channel_->facets().placed_io->flush();
}

Result<void> Link::pin(const GuestMemory& memory, std::stop_token stop) {
  return channel_->facets().placed_target->pin(memory, std::move(stop));
}

Result<void> Link::admit(const GuestMemory& memory) {
  FERRY_TRY(channel_->facets().placed_target->admit(memory));
  admitted_.store(true, std::memory_order_release);
  return {};
}

void Link::withdraw() noexcept {
  // Asked of the channel, which may be about to let the peer in just now.
  if (PlacedTarget* const target = channel_->facets().placed_target) target->withdraw();
}

Result<void> Link::send(const wire::ControlFrame& frame) {
  std::vector<std::byte> bytes = wire::encode(frame);
  const iovec piece = piece_of(bytes);
  return write(std::span(&piece, 1));
}

Result<void> Link::finish() {
  const std::scoped_lock lock(writing_);
  finished_ = true;
  return channel_->finish();
}

Result<std::optional<Link::Message>> Link::next() {
  message_.resize(wire::k_prologue_bytes);
  const iovec prologue = piece_of(message_);
  if (!FERRY_TRY(read_exactly(std::span(&prologue, 1), Hearing::none))) return std::nullopt;

  const wire::MessageKind kind = FERRY_TRY(wire::message_kind(message_));
  const std::size_t length =
      FERRY_TRY(kind == wire::MessageKind::control ? wire::control_length(message_)
                                                   : wire::packet_header_length(message_));
  message_.resize(length);
  const iovec rest = piece_of(std::span(message_).subspan(wire::k_prologue_bytes));
  if (!FERRY_TRY(read_exactly(std::span(&rest, 1), Hearing::none))) return cut_short();
  liveness_.heard();
  return Message{kind, message_};
}

Result<void> Link::hear_the_end() {
  if (!FERRY_TRY(next())) return {};
  return fail(Errc::protocol,
              fmt::format("read from {}: it goes on where it should finish", info().peer));
}

Result<void> Link::read_payload(std::span<const iovec> into) {
  if (!FERRY_TRY(read_exactly(into, Hearing::every_piece))) return cut_short();
  return {};
}

/// `enough` is all that is wanted; `into` may have room for more.
Result<std::size_t> Link::read_some(std::span<const iovec> into, std::size_t enough) {
  BulkRead* const bulk = channel_->facets().bulk_read;
  return bulk != nullptr && enough >= k_bulk_bytes ? bulk->read_bulk(into, enough)
                                                   : channel_->read_some(into);
}

Result<bool> Link::read_exactly(std::span<const iovec> into, Hearing hearing) {
  IovecWindow wanted(into);
  std::size_t left = total_bytes(into);
  bool begun = false;

  while (left > 0 && ahead_begin_ < ahead_end_) {
    const iovec piece = wanted.window(ahead_end_ - ahead_begin_).front();
    std::memcpy(piece.iov_base, ahead_.data() + ahead_begin_, piece.iov_len);
    ahead_begin_ += piece.iov_len;
    wanted.advance(piece.iov_len);
    left -= piece.iov_len;
    begun = true;
  }

  std::array<iovec, 256> pieces;
  while (left > 0) {
    // All that is wanted, and the read-ahead behind it where all of it fits into the list.
    auto rest = wanted.window();
    rest = rest.first(std::min(rest.size(), pieces.size() - 1));
    std::size_t count = std::ranges::copy(rest, pieces.begin()).out - pieces.begin();
    const std::size_t asked = total_bytes(rest);
    if (asked == left) pieces[count++] = piece_of(ahead_);

    const std::size_t got = FERRY_TRY(read_some(std::span(pieces).first(count), asked));
    if (got == 0) {
      if (begun) return cut_short();
      return false;
    }
    begun = true;
    if (hearing == Hearing::every_piece) liveness_.heard();
    wanted.advance(std::min(got, asked));
    left -= std::min(got, asked);
    if (got > asked) {
      ahead_begin_ = 0;
      ahead_end_ = got - asked;
    }
  }
  return true;
}

/// A heartbeat or a lane may come late.
std::unexpected<Error> Link::all_was_said() const {
  return fail(Errc::disconnected, fmt::format("write to {}: all was said", info().peer));
}

std::unexpected<Error> Link::cut_short() const {
  return fail(Errc::disconnected,
              fmt::format("read from {}: the peer ended in the middle of a message", info().peer));
}

}  // namespace ferry
