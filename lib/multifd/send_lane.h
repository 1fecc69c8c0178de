// One page channel of the source: a thread that turns work into packets.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>

#include "base/bounded_queue.h"
#include "ferry/guest.h"
#include "ferry/memory.h"
#include "multifd/lane_clock.h"
#include "multifd/link.h"
#include "multifd/packet_builder.h"
#include "multifd/state_window.h"

namespace ferry {

/// What is known of a run before it is read.
enum class Content { data, zeros };

/// Does the guest write to its memory while that is sent?
enum class Motion { still, running };

struct PageWork {
  PageRun run{};
  Content content = Content::data;
  /// Instead of a run: device state. Shared, since the lane may still be writing it while another
  /// thread drops it for an acknowledgement, or orders it to be sent again.
  std::shared_ptr<const PackedPiece> piece{};
};
using WorkQueue = BoundedQueue<PageWork>;

/// How all lanes of a sender send.
struct LaneOptions {
  ZeroCopy zero_copy = ZeroCopy::automatic;
  BandwidthLimit* bandwidth = nullptr;  ///< shared by all of them; null: none
};

/// Who hears what happens in lanes, from their threads.
struct LaneEvents {
  std::function<void(Error)> failed;
  /// Memory cannot be put from where it lies, and why: it is copied first. Once a lane. Empty:
  /// nobody hears it.
  std::function<void(const Error&)> copies_instead{};
  /// The link of this lane is worn. Gives another one, behind what was written to it, and keeps it
  /// until it is asked for the next; null: there is none. Blocks. Empty: there never is.
  std::function<Result<Link*>(std::uint16_t lane)> replace{};
};

/// Counters of one lane. Written by its thread, read by any: relaxed, each for itself.
struct SendCounters {
  std::atomic<std::uint64_t> wire_bytes = 0;
  std::atomic<std::uint64_t> placed_bytes = 0;   ///< of wire_bytes
  std::atomic<std::uint64_t> placed_copies = 0;  ///< packets, of mapped memory that was copied
  std::atomic<std::uint64_t> zero_bytes = 0;
  std::atomic<std::uint64_t> resent_units = 0;
  std::atomic<std::uint64_t> replacements = 0;  ///< of its link
  std::atomic<std::uint64_t> wait_micros = 0;   ///< without work
  LaneClock clock;                              ///< has a lock of its own
};

/// Takes runs, in a thread of its own, from the queue that all lanes share, and orders that are for
/// this lane alone. Orders go first. The thread ends when the queue is closed, or at the first
/// failure, which it reports.
///
/// Over a link that places, the payload of a packet is put straight into the peer's memory, and the
/// packet says so. Mapped memory is put from where it lies, and copied first where too little of it
/// can be pinned; memory behind a descriptor is read into the link's staging buffers.
///
/// No packet is begun on a link that is worn, where there is another (LaneEvents::replace). To the
/// lane that is all: its packets go on with their numbers, what is refused there comes again here.
class SendLane {
 public:
  SendLane(std::uint16_t index, Link& link, const GuestMemory& memory, WorkQueue& work,
           const LaneOptions& options, std::stop_token unbounded, LaneEvents events);
  /// The queue must be closed, and the link cancelled unless all is sent: waits for the thread.
  ~SendLane();

  /// First of all: pins what is mapped, where it is to be put from. Blocks for as long as that is
  /// large. A machine that allows too little of it is no reason to fail: what is pinned in any case
  /// are the staging buffers.
  Result<void> attach();
  /// Starts the thread. Errc::system.
  Result<void> start();

  /// Thread-safe. What follows belongs to this round. The one before was acknowledged: nothing of
  /// it will be refused any more. What is sent from the memory of a running guest is LIVE: the
  /// receiver suspects what changed on the way, instead of refusing it.
  void begin_round(std::uint32_t round, Motion motion);

  /// Thread-safe. Orders the end of the round on this lane; the queue was drained before. The lane
  /// sees it when its queue is poked, which is the caller's to do, once for all lanes: each poke
  /// wakes every one of them.
  void end_round();

  /// Thread-safe. The receiver has acknowledged the round that was ended: until now it was waited
  /// for.
  void round_acknowledged();

  /// Thread-safe. Sends damaged runs again. Bounded, since a receiver may lie: each packet can be
  /// refused once, in the order of sending, what was sent again k_max_resends times only, and no
  /// more than k_max_damaged_runs pages wait to be sent again. Errc::protocol, Errc::integrity.
  Result<void> resend(const wire::Nak& nak);

  /// Thread-safe. The receiver keeps the piece of device state in this packet. Errc::protocol where
  /// there is none, or it was answered before.
  Result<void> state_acknowledged(std::uint64_t sequence);

  wire::LaneTranscript transcript() const;
  /// Thread-safe.
  LaneReport report() const;
  const SendCounters& counters() const noexcept { return counters_; }
  /// Thread-safe.
  std::uint64_t zero_copy_fallbacks() const noexcept;

 private:
  struct Order {
    std::vector<PageRun> runs{};  // to be sent again; none, and no piece: end the round
    unsigned attempt = 0;
    std::shared_ptr<const PackedPiece> piece{};  // likewise
  };

  /// How memory that is mapped leaves.
  enum class Mapped { in_place, copied };

  void loop();
  Result<void> serve();
  Result<void> obey(const Order& order);
  Result<void> add(const PageWork& work, std::uint32_t flags, unsigned attempt);
  Result<void> renew_link();
  Result<void> stage(const MemoryRegion& region);
  wire::EncodedHeader number(wire::PacketHeader& header, unsigned attempt);
  Result<void> send_packet(std::uint32_t flags, unsigned attempt);
  Result<void> put(const wire::EncodedHeader& header);
  Result<void> send_state(const std::shared_ptr<const PackedPiece>& piece, unsigned attempt);
  template <class Write>
  Result<void> timed(std::size_t bytes, LaneTimes spent, Write write);
  Result<bool> resend_state(const wire::Nak& nak);
  Result<unsigned> next_attempt(const wire::Nak& nak) const;
  Result<void> write(const wire::EncodedHeader& header);
  std::optional<Order> next_order();
  std::optional<PageWork> wait_for_work();

  const std::uint16_t index_;
  const GuestMemory& memory_;
  WorkQueue& work_;
  const LaneOptions options_;
  const std::stop_token unbounded_;  // requested: the bandwidth is of no matter any more
  const LaneEvents events_;
  SendCounters counters_;

  const bool places_;
  PacketBuilder packet_;  // the lane's thread alone
  std::size_t room_;      // likewise: what the line lets a packet have, in bytes

  mutable std::mutex mutex_;  // guards the rest, which other threads touch too
  Link* link_;                // changed by the lane's thread, which reads it without the lock
  std::uint64_t fallbacks_before_ = 0;  // of the links before this one
  std::uint32_t round_ = 0;
  Motion motion_ = Motion::still;
  Mapped mapped_ = Mapped::in_place;
  std::deque<Order> orders_;
  wire::LaneTranscript transcript_;
  std::uint64_t next_nak_ = 0;       // the lowest sequence that may still be refused
  std::uint64_t waiting_units_ = 0;  // of memory, in orders: k_max_damaged_runs at most
  std::optional<Clock::time_point> ended_round_at_;
  std::map<std::uint64_t, unsigned> attempts_;  // of the packets of this round that were resends
  // Pieces of device state in packets of this round that were neither acknowledged nor refused.
  std::map<std::uint64_t, std::shared_ptr<const PackedPiece>> unanswered_;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace ferry
