// A channel that carries whole messages: control frames, packets, or on a solo channel both.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "ferry/channel.h"
#include "multifd/liveness.h"
#include "wire/control.h"
#include "wire/packet.h"

namespace ferry {

/// Owns a channel after its Hello. Writing is thread-safe and keeps messages whole; reading is one
/// thread's. cancel() may come from anywhere. After a failed write the line is useless: the channel
/// repeats its failure.
class Link {
 public:
  Link(std::unique_ptr<Channel> channel, Liveness& liveness);

  /// Thread-safe. Blocks until the channel took all of it.
  Result<void> write(std::span<const iovec> message);
  /// Thread-safe. The same, with memory on loan behind the message, until flush().
  Result<void> write(std::span<const iovec> message, std::span<const iovec> lent);
  /// Thread-safe. Blocks until the peer has acknowledged all that is on loan, and until all that
  /// was placed is there.
  Result<void> flush();
  /// Thread-safe. Encodes and writes a control frame.
  Result<void> send(const wire::ControlFrame& frame);
  /// Thread-safe. After it nothing is written.
  Result<void> finish();

  /// Where the peer has nothing to say here any more: blocks until it has finished. Anything else
  /// is Errc::protocol. One thread, as next().
  Result<void> hear_the_end();

  /// A control frame or the header of a packet, whole, not yet decoded. Valid until the next call.
  struct Message {
    wire::MessageKind kind;
    std::span<const std::byte> bytes;
  };
  /// Blocks for the next message; nothing when the peer has finished between two of them. After a
  /// packet's header its payload must be read before the next message. The peer counts as heard
  /// when all of it is here: with a length that was damaged, heartbeats would fill a message that
  /// never ends.
  Result<std::optional<Message>> next();
  /// Blocks until all of `into` is filled.
  Result<void> read_payload(std::span<const iovec> into);

  /// Can pages be put straight into the peer's memory? What follows is for such links; it goes
  /// through here because a channel's facet belongs to whoever writes. All of it is thread-safe.
  bool places() const noexcept { return channel_->facets().placed_io != nullptr; }
  /// PlacedIo::attach(), before any of the others, and beside writes; PlacedIo::staging() of
  /// k_staging_bytes.
  Result<void> attach(const GuestMemory& memory);
  Result<std::span<std::byte>> staging();
  /// Begins to put the payload of a packet to its place, a piece for each of the packet's raw runs.
  /// Who reads what is written behind it finds it there. It is on loan until settle() or flush(),
  /// in a staging buffer until that comes round again.
  Result<void> put(const wire::PacketHeader& packet, std::span<const iovec> payload);
  /// PlacedIo::flush(): all of it is there.
  Result<void> settle();

  /// Can the peer put pages straight into memory here?
  bool is_target() const noexcept { return channel_->facets().placed_target != nullptr; }
  /// Thread-safe. PlacedTarget::pin(): blocks, and nobody else.
  Result<void> pin(const GuestMemory& memory, std::stop_token stop);
  /// Thread-safe. Lets it: PlacedTarget::admit().
  Result<void> admit(const GuestMemory& memory);
  /// Thread-safe. Has it been let?
  bool admitted() const noexcept { return admitted_.load(std::memory_order_acquire); }
  /// Thread-safe. Ends that, where it has been: PlacedTarget::withdraw().
  void withdraw() noexcept;

  void cancel(Errc why) noexcept { channel_->cancel(why); }
  const ChannelInfo& info() const noexcept { return channel_->info(); }
  /// The writing thread's to ask. Had another channel better take this one's place (Wear)?
  bool worn() const noexcept {
    const Wear* const wear = channel_->facets().wear;
    return wear != nullptr && wear->worn();
  }
  /// Null where nothing is encrypted in this process.
  CryptoClock* crypto_clock() const noexcept { return channel_->facets().crypto_clock; }
  /// Null where the channel copies whatever it is lent.
  ZeroCopyIo* zero_copy() const noexcept { return channel_->facets().zero_copy; }

 private:
  /// Which bytes say that the peer is alive?
  enum class Hearing { every_piece, none };
  /// False when the peer finished before the first byte.
  std::unexpected<Error> all_was_said() const;
  Result<std::size_t> read_some(std::span<const iovec> into, std::size_t enough);
  Result<bool> read_exactly(std::span<const iovec> into, Hearing hearing);
  std::unexpected<Error> cut_short() const;

  std::unique_ptr<Channel> channel_;
  Liveness& liveness_;
  std::mutex writing_;
  bool finished_ = false;               // guarded by writing_
  std::atomic<bool> admitted_ = false;  // set, with release, behind admit()

  // What came along with the last read and was not asked for yet: one system call then brings a
  // payload and the next header together.
  std::vector<std::byte> ahead_;
  std::size_t ahead_begin_ = 0;
  std::size_t ahead_end_ = 0;
  std::vector<std::byte> message_;
};

}  // namespace ferry
