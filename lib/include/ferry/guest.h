// What a VMM author implements, and what comes out of a migration.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "ferry/bandwidth.h"
#include "ferry/channel.h"
#include "ferry/memory.h"
#include "ferry/result.h"
#include "ferry/uri.h"

namespace [[gnu::visibility("default")]] ferry {

class Runtime;

/// Names one hand-over of one guest. Whoever holds the token of a committed hand-over owns the
/// guest.
struct OwnerToken {
  std::array<std::byte, 16> bytes{};
  friend bool operator==(const OwnerToken&, const OwnerToken&) = default;
};

/// The guest that leaves. All calls come from the thread that is in send().
class SourceGuest {
 public:
  virtual ~SourceGuest() = default;
  /// Must stay as it is until send() returns.
  virtual const GuestMemory& memory() = 0;
  virtual DirtyTracker& dirty_tracker() = 0;
  /// Stops the guest: no vCPU and no device writes to memory after this.
  virtual Result<void> pause() = 0;
  /// Lets a paused guest run again: the migration failed before its commit, and it stays here.
  virtual Result<void> resume() = 0;
};

/// The guest that arrives. All calls come from the thread that is in receive().
class DestinationGuest {
 public:
  virtual ~DestinationGuest() = default;
  /// Provides memory for the layout that the source announced. The layout is within the limits of
  /// the wire but otherwise the peer's word: names, sizes and number are to be judged here, and a
  /// failure's text reaches the peer. The memory must read as zeros.
  virtual Result<GuestMemory> map_memory(const Layout& wanted) = 0;
  /// All memory has arrived and is verified. Makes it durable where that means something; after
  /// success start() should not fail.
  virtual Result<void> prepare() = 0;
  /// The hand-over is committed: the guest is ours, run it.
  virtual Result<void> start(const OwnerToken& token) = 0;
};

/// Who may run the guest.
enum class Owner { source, destination, unknown };
std::string_view to_string(Owner owner) noexcept;

/// How memory is proved beyond the checksum that every 4 KiB always carries.
enum class Verify {
  pages,  ///< checksums of everything on the way, and the transcript of both sides
  full,   ///< also a digest of all memory, taken at both ends when the guest is paused
};

/// May mapped memory be sent without copying it, where the channel can?
enum class ZeroCopy {
  automatic,  ///< yes, until the kernel says that it copies anyway
  on,         ///< yes, whatever the kernel says
  off,
};

/// Where a migration stands. Given about once a second.
struct Progress {
  std::uint64_t bytes_total = 0;  ///< of memory
  std::uint64_t bytes_done = 0;   ///< arrived and verified at the destination, holes and zeros too
  std::uint64_t wire_bytes = 0;   ///< sent, or received, on page channels
  std::chrono::nanoseconds elapsed{};
};

struct Warning {
  std::string text;
};

/// What says that all of it arrived.
enum class Proof {
  transcript,     ///< both sides saw the same of every channel
  durable_image,  ///< it is on the disk, with a checksum for every 4 KiB
  verified_image  ///< it came from there, and every checksum was right
};

/// What a migration did.
struct Report {
  std::uint64_t bytes = 0;       ///< of memory that the destination holds
  std::uint64_t wire_bytes = 0;  ///< on page channels, headers and resends included
  std::uint64_t packets = 0;
  std::uint64_t rounds = 0;
  std::uint64_t zero_bytes = 0;  ///< told, not sent
  std::uint64_t resent = 0;      ///< units of 4 KiB that were damaged on the way, and sent again
  std::uint64_t suspect = 0;     ///< units that changed while they were sent
  std::uint64_t zero_copy_fallbacks = 0;  ///< writes without copying that were copied after all
  std::uint64_t refused = 0;              ///< peers that were sent away
  unsigned channels = 0;                  ///< page channels
  std::chrono::nanoseconds elapsed{};     ///< from the first word of the session to its end
  std::chrono::nanoseconds downtime{};  ///< from pause() to the peer's STARTED; 0 where nothing ran
  Verify verify = Verify::pages;
  Proof proof = Proof::transcript;
  std::string peer;
  std::string cipher;  ///< that hid all of it from others; empty: nothing did
};

struct Outcome {
  Owner owner = Owner::source;
  Report report;
  std::optional<Error> why_not;  ///< set unless the guest was handed over
  bool ok() const noexcept { return !why_not; }
};

/// Hears of a migration. Called from threads of Ferry's own, one call at a time; must not block.
struct Observer {
  std::function<void(const Uri& local)> listening;  ///< receive(): senders may come
  /// There is a peer, to a source one that takes its guest; no memory has gone yet. This is its
  /// control channel, or its only one.
  std::function<void(const ChannelInfo&)> connected;
  std::function<void(const Progress&)> progress;
  std::function<void(const Warning&)> warning;
};

/// One lane fills a core; more than four rarely helps, and fewer than the machine has cores wastes.
unsigned default_channels() noexcept;

struct SendOptions {
  unsigned channels = default_channels();  ///< page channels, 1 to 255
  Verify verify = Verify::pages;
  ZeroCopy zero_copy = ZeroCopy::automatic;
  BandwidthLimit* bandwidth = nullptr;  ///< of all page channels together; the caller's, who may
                                        ///< change it meanwhile. Null: no bound
  std::chrono::milliseconds timeout{30'000};  ///< to connect, and of the peer's silence later
  Observer observer;
};

struct ReceiveOptions {
  /// How many lanes read a guest that comes from a file. Of one that comes over a line the sender
  /// says it.
  unsigned channels = default_channels();
  std::chrono::milliseconds timeout{30'000};  ///< of the peer's silence, once there is a peer
  Observer observer;
};

/// Moves a guest to whoever listens at `uri`, or into a file there. Blocks until it is there, or
/// stays. A stop request
/// ends it: before the commit the guest is resumed here (Errc::cancelled); after it nothing is
/// undone.
Outcome send(Runtime& runtime, SourceGuest& guest, std::string_view uri, const SendOptions& options,
             std::stop_token stop = {});

/// Waits at `uri` for one guest, however long it takes to come, and receives it. Where `uri` is a
/// file the guest is taken from there, at once, and the file stays as it is.
Outcome receive(Runtime& runtime, DestinationGuest& guest, std::string_view uri,
                const ReceiveOptions& options, std::stop_token stop = {});

/// The same over one duplex channel that is there already: control frames and pages share it
/// (role solo), and `options.channels` is of no matter.
Outcome send_over(Runtime& runtime, SourceGuest& guest, std::unique_ptr<Channel> channel,
                  const SendOptions& options, std::stop_token stop = {});
Outcome receive_over(Runtime& runtime, DestinationGuest& guest, std::unique_ptr<Channel> channel,
                     const ReceiveOptions& options, std::stop_token stop = {});

}  // namespace ferry
