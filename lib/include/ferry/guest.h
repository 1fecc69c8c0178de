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
#include "ferry/device_state.h"
#include "ferry/memory.h"
#include "ferry/report.h"
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
  /// Lets a paused guest run again: the migration failed before its commit, and it stays here. Its
  /// tracker is stopped behind this, and what that watches stays as it is until send() returns.
  virtual Result<void> resume() = 0;
  /// The guest is paused, and what was dirty is on its way: writes vCPUs and devices. May itself
  /// write to guest memory, where the tracker sees it. Saves nothing, where not overridden.
  virtual Result<void> save_state(StateWriter& out);
};

/// The guest that arrives. All calls come from the thread that is in receive().
class DestinationGuest {
 public:
  virtual ~DestinationGuest() = default;
  /// Provides memory for the layout that the source announced. The layout is within the limits of
  /// the wire but otherwise the peer's word: names, sizes and number are to be judged here, and a
  /// failure's text reaches the peer. The memory must read as zeros. A region that is a file and
  /// not mapped may be opened a second time, past the page cache, and closed again: whoever locks
  /// it does so by F_OFD_SETLK, for F_SETLK (fcntl_locking(2)) would lose its lock.
  virtual Result<GuestMemory> map_memory(const Layout& wanted) = 0;
  /// Called in the place of map_memory() where the source puts pages straight into memory (RDMA):
  /// the same, but every region must be mapped, for it is pinned there. Where not overridden it is
  /// map_memory().
  virtual Result<GuestMemory> map_placed_memory(const Layout& wanted);
  /// All memory is here, and will not change any more: reads the sections of the source, in their
  /// order, all of them. The source still has the guest. Where not overridden it refuses the first
  /// section, by its name.
  virtual Result<void> load_state(StateReader& in);
  /// All memory has arrived and is verified, the state is loaded. Makes it durable where that means
  /// something; after success start() should not fail.
  virtual Result<void> prepare() = 0;
  /// The hand-over is committed: the guest is ours, run it.
  virtual Result<void> start(const OwnerToken& token) = 0;
};

/// Who may run the guest.
enum class Owner { source, destination, unknown };
std::string_view to_string(Owner owner) noexcept;

/// May mapped memory be sent without copying it, where the channel can?
enum class ZeroCopy {
  automatic,  ///< yes, until the kernel says that it copies anyway
  on,         ///< yes, whatever the kernel says
  off,
};

/// Will the guest's memory be small enough to send in the downtime that was asked for?
enum class Outlook {
  unknown,         ///< too early to say
  converging,      ///< each round leaves less than the one before
  not_converging,  ///< it writes as fast as the line carries: as things are, never
};
std::string_view to_string(Outlook outlook) noexcept;

/// How the rounds of a source go. Rates are those of the last whole round, in bytes per second.
struct PrecopyStatus {
  std::uint32_t round = 0;        ///< that is under way
  std::uint64_t round_bytes = 0;  ///< of memory that it has to send
  /// What the guest writes, each page counted once; 0: unknown. Of a first round whose memory was
  /// watched part by part (GradualTracking) too low, by about a half: only what came behind a
  /// part's sending is known.
  std::uint64_t dirty_rate = 0;
  std::uint64_t bandwidth = 0;  ///< what page channels carry; 0: unknown
  unsigned throttle = 0;        ///< percent that the guest is slowed by
  Outlook outlook = Outlook::unknown;
  /// Were the guest paused at the end of the last round, so long it would have stood still.
  std::chrono::nanoseconds expected_downtime{};
  /// Until the guest runs at the destination; nothing where that cannot be said, or is never.
  std::optional<std::chrono::nanoseconds> eta;
};

/// Where a migration stands. Given about once a second.
struct Progress {
  std::uint64_t bytes_total = 0;  ///< of memory
  std::uint64_t bytes_done = 0;   ///< arrived and verified at the destination, holes and zeros too
  std::uint64_t wire_bytes = 0;   ///< sent, or received, on page channels
  std::chrono::nanoseconds elapsed{};
  std::optional<PrecopyStatus> precopy{};  ///< a source's, once its first round has begun
};

struct Warning {
  std::string text;
};

struct Outcome {
  Owner owner = Owner::source;
  Report report;
  std::optional<Error> why_not;  ///< set unless the guest was handed over
  bool ok() const noexcept { return !why_not; }
};

/// Hears of a migration. Called from threads of Ferry's own, one call at a time; must not block.
struct Observer {
  /// receive(): senders may come. It is Listener::local(), and how far that leads.
  std::function<void(const Uri& local, Reach reach)> listening;
  /// There is a peer, to a source one that takes its guest; no memory has gone yet. This is its
  /// control channel, or its only one.
  std::function<void(const ChannelInfo&)> connected;
  std::function<void(const Progress&)> progress;
  std::function<void(const Warning&)> warning;
};

/// One lane fills a core; more than four rarely helps, and fewer than the machine has cores wastes.
unsigned default_channels() noexcept;

/// What becomes of a guest that writes faster than the line carries.
enum class NotConverging {
  keep_trying,  ///< round after round, until max_rounds or max_time, or a stop request
  throttle,     ///< it is slowed, as far as needed (SendOptions::throttle)
  give_up,      ///< Errc::not_converging; it runs on, untouched
};

struct SendOptions {
  unsigned channels = default_channels();  ///< page channels, 1 to 255
  Verify verify = Verify::pages;
  ZeroCopy zero_copy = ZeroCopy::automatic;
  BandwidthLimit* bandwidth = nullptr;  ///< of all page channels together; the caller's, who may
                                        ///< change it meanwhile. Null: no bound
  std::chrono::milliseconds timeout{30'000};  ///< to connect, and of the peer's silence later
  /// A guest that is paused stands still no longer than this before the destination is READY: for
  /// the last rounds, device state and the loading of it, and digests with Verify::full. Then it
  /// runs on here: Errc::timed_out. So long, too, the answer to COMMIT is waited for; without it
  /// the owner is unknown. A peer that is silent is given up by `timeout` before. 0: any time.
  std::chrono::milliseconds ready_timeout{60'000};

  /// The guest is paused when what is dirty can be sent, and the rest of the hand-over be done, in
  /// this time, by the rates that were measured. 0: only when nothing is dirty.
  std::chrono::milliseconds max_downtime{300};
  /// What cannot be measured before it is done: pause(), device state and start(). So much of
  /// max_downtime is kept for it, half of that at most; the line's round trips are measured.
  std::chrono::milliseconds switch_allowance{10};
  std::uint32_t max_rounds = 0;          ///< with the guest running, the first included; 0: any
  std::chrono::milliseconds max_time{};  ///< with the guest running; 0: any. Past either limit it
                                         ///< stays here: Errc::not_converging
  NotConverging when_not_converging = NotConverging::keep_trying;
  /// Slows the guest by so many percent of its time, 0 to 99: 0 again once it is paused, or the
  /// migration has ended. Called from the thread in send(). Needed with NotConverging::throttle.
  std::function<void(unsigned percent)> throttle;
  /// The guest is about to be paused. Called from the thread in send(), once, and may block: the
  /// guest runs on meanwhile, and further rounds may follow. A failure ends the migration, and the
  /// guest stays.
  std::function<Result<void>()> before_switch;

  Observer observer;
};

struct ReceiveOptions {
  /// How many lanes read a guest that comes from a file. Of one that comes over a line the sender
  /// says it.
  unsigned channels = default_channels();
  std::chrono::milliseconds timeout{30'000};  ///< of the peer's silence, once there is a peer
  /// Device state that a peer may send, in bytes. It is kept until all memory is here: up to
  /// 16 MiB of it in memory, the rest in a nameless file in `state_folder`. 0: the guest has none,
  /// and the first section ends the migration.
  std::uint64_t max_state_bytes = std::uint64_t{16} << 30;
  std::string state_folder = "/var/tmp";
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
