// The byte pipe that everything above a transport works with.
#pragma once

#include <sys/uio.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "ferry/memory.h"
#include "ferry/result.h"
#include "ferry/unique_fd.h"

namespace [[gnu::visibility("default")]] ferry {

/// May the channel go on reading the caller's memory after write() has returned?
enum class Loan {
  none,         ///< no: all bytes are copied or sent before write() returns
  until_flush,  ///< yes, until flush() returns: the channel may send without copying
};

/// What to wait for on a descriptor. A bit set: both may be wanted.
enum class Interest : std::uint8_t { none = 0, read = 1, write = 2, both = 3 };
constexpr Interest operator|(Interest a, Interest b) noexcept {
  return static_cast<Interest>(static_cast<std::uint8_t>(a) | static_cast<std::uint8_t>(b));
}
constexpr bool wants(Interest set, Interest bit) noexcept {
  return (static_cast<std::uint8_t>(set) & static_cast<std::uint8_t>(bit)) != 0;
}

/// What is worth knowing of a channel, for logs, reports and the table of transports.
struct ChannelInfo {
  std::string scheme;           ///< "tcp", "unix", ...
  std::string local;            ///< our end, as a URI where there is one
  std::string peer;             ///< the other end, as a URI where there is one
  bool encrypted = false;       ///< are bytes on the line unreadable to others?
  std::string cipher{};         ///< by what: "TLS_AES_128_GCM_SHA256"; empty where nothing is
  bool kernel_tls = false;      ///< does the kernel encrypt what we send (kernel TLS)?
  bool pages_in_clear = false;  ///< of a line that is: do pages go beside it (Facets::placed_io)?
  bool within_host = false;     ///< do bytes never leave this host?
  bool multipath = false;       ///< may the bytes take several paths at once (MPTCP)?
  /// What was asked for and cannot be had, and why, for a warning to people; else empty.
  std::string shortfall{};
};

/// The facet of a channel that can be driven from an event loop. Neither call ever blocks.
class Pollable {
 public:
  /// Bytes moved, or (bytes == 0 and wait_for != none) what to wait for on fd() before trying
  /// again. A read of zero bytes with wait_for == none means that the peer finished.
  struct Step {
    std::size_t bytes = 0;
    Interest wait_for = Interest::none;
  };

  virtual Result<Step> try_read_some(std::span<const iovec> into) = 0;
  /// Where it has accepted nothing, the same bytes come first in the next write: an encrypted
  /// channel may have begun to send them.
  virtual Result<Step> try_write_some(std::span<const iovec> from) = 0;
  /// The descriptor to wait on. It stays the channel's.
  virtual int fd() const noexcept = 0;

 protected:
  ~Pollable() = default;
};

/// The facet of a channel that carries descriptors beside its bytes: UNIX sockets. A Pollable, so
/// that it may be driven from a loop, or be used in blocking calls as the Channel is.
///
/// Descriptors belong to the first byte of the write that brings them. The read that takes this
/// byte takes them with it, and none that begins behind it; a read takes those of one write at
/// most. They arrive in their order, close-on-exec. Those of bytes that are read without asking for
/// descriptors (Channel::read_some) are closed, and so are those that are still under way when the
/// line ends.
///
/// The caller's descriptors stay the caller's: the peer gets duplicates. At most k_most go with one
/// write, which must have a byte to go with; anything else is Errc::usage, and does no harm to the
/// channel.
class FdPassing : public Pollable {
 public:
  static constexpr std::size_t k_most = 253;  ///< in one write: the kernel's limit (SCM_MAX_FD)

  struct Received {
    std::size_t bytes = 0;
    std::vector<UniqueFd> fds;
  };
  /// As Step, with what came.
  struct ReceivedStep {
    Step step;
    std::vector<UniqueFd> fds;
  };

  /// Channel::read_some, and the descriptors of those bytes. Descriptors that came and could not be
  /// taken over (the process has too many) are Errc::system: the rest of them is closed, and the
  /// failure is final.
  virtual Result<Received> read_some_with_fds(std::span<const iovec> into) = 0;
  /// Channel::write, with descriptors.
  virtual Result<void> write_with_fds(std::span<const iovec> from, std::span<const int> fds) = 0;

  /// The same without blocking. A write of any bytes has sent all of the descriptors: what is left
  /// of its bytes goes without them. A write of none has sent none.
  virtual Result<ReceivedStep> try_read_some_with_fds(std::span<const iovec> into) = 0;
  virtual Result<Step> try_write_some_with_fds(std::span<const iovec> from,
                                               std::span<const int> fds) = 0;

 protected:
  ~FdPassing() = default;
};

/// Puts pages where they belong, with no packet: a file at its offset, RDMA in the peer's memory.
/// The facet of a channel, or all that a lane of a Place is.
///
/// Several runs move at a time, depth() of them at most, and their ends are told in the order of
/// their beginnings. Used by one thread at a time: of a channel's facet, the one that writes. The
/// first failure is final: every later call repeats it. Destroying it waits for what is under way.
///
/// Where it is a channel's facet, puts and the channel's bytes keep their order: who reads bytes
/// that were written after a put was begun finds what was put in its place.
class PlacedIo {
 public:
  /// What one staging buffer can have of any of them.
  static constexpr std::size_t k_staging_bytes = 256 * 1024;

  virtual ~PlacedIo() = default;

  /// Of one staging buffer of this one, at most: k_staging_bytes or more.
  virtual std::size_t staging_bytes() const noexcept { return k_staging_bytes; }
  /// Of all that are used by runs which are not settled, where nobody is to wait for one.
  virtual std::size_t staged_bytes() const noexcept { return 7 * k_staging_bytes; }

  /// Registers the memory that runs are put from and got into in place, and pins it where the
  /// transport needs that; regions that are not mapped it leaves out. Once, before; not needed for
  /// staging(). Of a channel's facet another thread may write the channel meanwhile. Too little
  /// lockable memory is Errc::system, and not final: staging() serves still.
  virtual Result<void> attach(const GuestMemory& memory) = 0;

  /// A buffer of its own, of `bytes`: a multiple of a unit, and staging_bytes() at most. Aligned to
  /// a unit, and registered where that helps. It is the caller's until the next call; and for as
  /// long as parts of it are put or got, and, once a get of it has settled, until the next call
  /// behind that: so what was got can be put on. Buffers come round again in the order in which
  /// they were taken. Until there is room this settles the oldest puts and gets; not where this
  /// buffer and all since the oldest that is still in use are staged_bytes() together, or less: so
  /// whoever gets keeps within that.
  virtual Result<std::span<std::byte>> staging(std::size_t bytes) = 0;

  /// Begins to write the run to its place. `from` is its bytes, in attached memory or in a buffer
  /// of staging() that is still the caller's, on loan until this put is settled. Blocks while
  /// depth() are under way, and then fails as the oldest of them did. Where the place is a file,
  /// `from` begins on a multiple of k_unit_bytes, and the run's offset and length are such
  /// multiples, too.
  virtual Result<void> put(const PageRun& run, std::span<const std::byte> from) = 0;
  /// Likewise: begins to fetch the run from its place.
  virtual Result<void> get(const PageRun& run, std::span<std::byte> into) = 0;

  /// Blocks until the oldest put or get that is not settled has ended. There must be one.
  virtual Result<void> settle() = 0;
  /// How many are not settled.
  virtual unsigned under_way() const noexcept = 0;
  virtual unsigned depth() const noexcept = 0;

  /// Settles all of them: every loan has ended.
  virtual Result<void> flush() = 0;
};

/// The other end of a channel's PlacedIo: memory of this process that the peer's puts land in, with
/// no call of ours. The facet of a channel whose device writes there by itself (RDMA).
class PlacedTarget {
 public:
  /// Ahead of admit(), what of it takes as long as `memory` is large: registers and pins it as far
  /// as the transport needs. Lets nobody in. Whatever channel admits its peer to it then finds it
  /// pinned, until this one's withdraw(). Once; fails as admit() does, and soon after a stop
  /// request with Errc::cancelled. Thread-safe.
  virtual Result<void> pin(const GuestMemory& memory, std::stop_token stop) = 0;
  /// Lets the peer put into `memory`, and into nothing else, until withdraw(). Registers it, and
  /// pins it as the transport needs; the peer's first put waits until this is done. Once; `memory`
  /// must stay mapped until withdraw(). A region that is not mapped is Errc::unsupported; too
  /// little lockable memory is Errc::system. Thread-safe.
  virtual Result<void> admit(const GuestMemory& memory) = 0;
  /// Takes that right back: when it returns nothing lands any more, and a put that the peer tries
  /// fails at the peer. Thread-safe; more than once does no harm. Destroying the channel does it.
  virtual void withdraw() noexcept = 0;

 protected:
  ~PlacedTarget() = default;
};

/// The facet of a channel that can send memory on loan without copying it. A Loan is a permission:
/// the channel copies where the kernel has no lockable memory left, and stops asking where the
/// kernel copies anyway (loopback). Both are counted.
class ZeroCopyIo {
 public:
  /// Is a loan of any use, or are bytes copied in any case? Asked by the writing thread.
  virtual bool worthwhile() noexcept = 0;
  /// Before the first write: go on to ask, whatever the kernel says.
  virtual void insist() noexcept = 0;
  /// Thread-safe. Writes on loan whose bytes were copied after all.
  virtual std::uint64_t zero_copy_fallbacks() const noexcept = 0;

 protected:
  ~ZeroCopyIo() = default;
};

/// The facet of a channel that encrypts in this process: how long its two directions have computed,
/// for reports. Thread-safe.
class CryptoClock {
 public:
  virtual std::chrono::nanoseconds encrypting() const noexcept = 0;
  virtual std::chrono::nanoseconds decrypting() const noexcept = 0;

 protected:
  ~CryptoClock() = default;
};

/// The facet of a channel that can carry only so much: an encrypted one whose key stays the same.
class Wear {
 public:
  /// Has it carried so much that another channel had better take its place? There is room left for
  /// what is under way; behind that it fails. Once true it stays so. Asked by the writing thread.
  virtual bool worn() const noexcept = 0;

 protected:
  ~Wear() = default;
};

/// The facet of a channel whose reader is better woken once for much than often for little. On a
/// fast line within a host the waking, which is the sender's work, costs as much as a checksum.
class BulkRead {
 public:
  /// Channel::read_some, but rather waits until `enough` bytes are there: at least 1, and no more
  /// than there is room for. It waits for a tenth of a second; then, at the end and where the
  /// socket cannot hold so many, it returns with fewer, but never with none.
  virtual Result<std::size_t> read_bulk(std::span<const iovec> into, std::size_t enough) = 0;

 protected:
  ~BulkRead() = default;
};

/// The facet of an encrypted channel that ties what is said over it to this one channel.
class ChannelBinding {
 public:
  using Proof = std::array<std::byte, 32>;
  /// HMAC-SHA256, under `secret`, of this channel's exporter value (RFC 8446, 7.5) and `index`.
  /// Both ends of a channel find the same, and those of any other channel find another.
  /// Thread-safe.
  virtual Proof prove(std::span<const std::byte> secret, std::uint16_t index) const = 0;

 protected:
  ~ChannelBinding() = default;
};

/// Optional abilities of a channel; null where absent. They live as long as the channel.
struct Facets {
  PlacedIo* placed_io = nullptr;
  PlacedTarget* placed_target = nullptr;
  Pollable* pollable = nullptr;
  ZeroCopyIo* zero_copy = nullptr;
  FdPassing* fd_passing = nullptr;
  BulkRead* bulk_read = nullptr;
  ChannelBinding* binding = nullptr;
  CryptoClock* crypto_clock = nullptr;
  Wear* wear = nullptr;
};

/// One ordered, reliable byte pipe to a peer already reached and authenticated.
///
/// At most one thread reads and one thread writes at a time; a channel is handed on by moving its
/// pointer. Only cancel() may be called from anywhere. The first failure is final: every later call
/// repeats it. Destroying a channel closes it, without ceremony: a peer then sees a cut line.
class Channel {
 public:
  virtual ~Channel() = default;

  /// Blocks for at least one byte and returns how many came; 0 says that the peer finished.
  /// `into` may have any number of pieces, empty ones too, but must have room for a byte.
  /// A cut line is Errc::disconnected.
  virtual Result<std::size_t> read_some(std::span<const iovec> into) = 0;

  /// Blocks until all of `from` was accepted (any number of pieces, of any size). The memory is
  /// free again on return, or with a Loan after the next flush().
  virtual Result<void> write(std::span<const iovec> from, Loan loan = Loan::none) = 0;

  /// Blocks until every loan has ended.
  virtual Result<void> flush() = 0;

  /// Ends our direction, in a way that the peer can tell from a cut line. Reading goes on.
  virtual Result<void> finish() = 0;

  /// Thread-safe, never blocks. Blocked and later calls fail with `why`; the first reason stays.
  virtual void cancel(Errc why = Errc::cancelled) noexcept = 0;

  virtual const ChannelInfo& info() const noexcept = 0;
  virtual Facets facets() noexcept { return {}; }
};

}  // namespace ferry
