// The destination's half of multifd: what has arrived, and the barrier between rounds.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "ferry/memory.h"
#include "multifd/link.h"
#include "multifd/receive_lane.h"
#include "wire/control.h"

namespace ferry {

/// Fills a guest's memory from its lanes. A lane either has a thread of its own (add_lane) or, on a
/// solo channel, is fed by the thread that reads the channel (lane(0).take).
class PageReceiver {
 public:
  /// Takes a piece of device state: the section's number, the offset in it, and the bytes. What was
  /// taken is there for good.
  using KeepState =
      std::function<Result<void>(std::uint32_t, std::uint64_t, std::span<const std::byte>)>;

  /// `control` carries NAKs, suspects and round acknowledgements back; it and `memory` outlive
  /// this. `on_failure` is called from lanes' threads, and so is `keep_state`, where device state
  /// goes; empty: whoever sends some is refused.
  PageReceiver(const GuestMemory& memory, unsigned lanes, Link& control,
               std::function<void(Error)> on_failure, KeepState keep_state = {});
  /// Cancels the lanes' links, and waits for their threads. A lane may be writing to `control`:
  /// whoever reads that at the other end must be there still, or it must be cancelled before.
  ~PageReceiver();

  /// Thread-safe. Starts the thread of a lane, once for each index; behind expect_another() that
  /// thread gets another link. Ignored after cancel(), and where none is wanted. Where the link can
  /// be a target, the lane first lets the source place pages in the memory.
  Result<void> add_lane(std::uint16_t index, std::unique_ptr<Link> link);

  /// Thread-safe. A lane that has a channel is to go on with another one: the next that add_lane()
  /// brings for it, once the source has finished the one that it has. Errc::protocol where there is
  /// no such lane, or it waits for one already.
  Result<void> expect_another(std::uint16_t index);

  /// Thread-safe. Wakes every lane.
  void cancel(Errc why) noexcept;

  /// After the source has finished its lanes: waits for their threads.
  void join();

  /// Thread-safe. How much of memory is here and verified, in bytes.
  std::uint64_t bytes_verified() const noexcept {
    return verified_.load(std::memory_order_relaxed);
  }
  struct Totals {
    std::uint64_t wire_bytes = 0;
    std::uint64_t placed_bytes = 0;
    std::uint64_t packets = 0;
    std::uint64_t zero_bytes = 0;
    std::uint64_t resent_units = 0;
    std::uint64_t suspect_units = 0;
    std::uint32_t rounds = 0;
  };
  /// Thread-safe.
  Totals totals() const;
  std::uint64_t total_bytes() const noexcept { return memory_.total_bytes(); }
  /// Thread-safe. Where the time of all lanes went, or of each.
  LaneTimes times() const;
  std::vector<LaneReport> lane_reports() const;
  /// Thread-safe. Pages of memory that were touched for the first time.
  std::uint64_t page_faults() const;

  /// The last round is over: no packet is taken any more. Errc::protocol where another has begun.
  Result<void> freeze();
  /// Thread-safe. The source can place no page any more, on any lane, the solo channel's too.
  /// Blocks for as long as the device needs.
  void withdraw() noexcept;
  /// When frozen.
  wire::Transcript transcript() const;
  std::uint64_t units_received() const { return received_.count(); }
  std::uint64_t units_suspect() const { return suspect_.count(); }
  bool complete() const { return received_.all() && suspect_.none(); }

  ReceiveLane& lane(std::uint16_t index) { return *lanes_[index]; }

 private:
  friend class ReceiveLane;

  // For lanes, from their threads.
  /// A packet of `round` has come. Holds off freeze() until that round is over.
  Result<void> begin_packet(std::uint32_t round);
  /// The lane has ended its round: blocks until all have, and the source was told.
  Result<void> arrive();
  enum class Arrival { good, suspect };
  /// Marks a run as here. Was any of it here before?
  bool received(const PageRun& run, Arrival arrival);

  /// What a lane reads. A lane has three at most, however often its channel is replaced.
  struct Line {
    std::unique_ptr<Link> last;  // read to its end; kept until the next one is
    std::unique_ptr<Link> now;
    std::unique_ptr<Link> next;  // to go on with
    bool expects_next = false;
  };

  void read_lane(std::uint16_t index, Link& first);
  Result<void> read_line(std::uint16_t index, Link& link);
  Result<Link*> next_line(std::uint16_t index);
  template <class Apply>
  void for_each_link(Apply apply) const;
  Result<void> acknowledge_round(std::uint32_t round);

  const GuestMemory& memory_;
  Link& control_;
  std::function<void(Error)> on_failure_;
  const KeepState keep_state_;
  PageBitmap received_;
  std::atomic<bool> any_suspect_ = false;  // spares the common case the lock and suspect_
  std::atomic<std::uint64_t> verified_ = 0;
  std::atomic<std::uint64_t> zero_bytes_ = 0;
  std::atomic<std::uint64_t> damaged_units_ = 0;
  std::atomic<std::uint64_t> suspect_units_ = 0;
  std::vector<std::unique_ptr<ReceiveLane>> lanes_;

  mutable std::mutex mutex_;  // guards the rest
  std::condition_variable round_over_;
  std::uint32_t round_ = 0;
  std::uint32_t acknowledged_ = 0;  // rounds: behind round_ while the source is being told
  std::size_t arrived_ = 0;         // lanes that have ended the round
  bool round_begun_ = false;        // a packet of it has come
  bool frozen_ = false;
  bool withdrawn_ = false;  // from here on lines stay what they are
  std::condition_variable next_line_;
  PageBitmap suspect_;  // of what changed while it was sent, and has not come again
  std::optional<Errc> cancelled_;
  std::vector<Line> lines_;  // of a lane: changed by its thread, and where none is there
  std::vector<std::thread> threads_;
};

}  // namespace ferry
