// The source's half of multifd: lanes fed from one bounded queue.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "ferry/memory.h"
#include "multifd/send_lane.h"
#include "wire/control.h"

namespace ferry {

/// Spreads the pages of a round over its lanes. One thread drives it (submit, rounds); resend()
/// comes from the control channel's reader.
class PageSender {
 public:
  PageSender(const GuestMemory& memory, const LaneOptions& options, LaneEvents events);
  /// Waits for the lanes' threads: close() before, and cancel the links unless all is sent.
  ~PageSender();

  /// Starts a lane on a link that outlives this, unless LaneEvents::replace gives others. Lanes are
  /// numbered in the order of adding. Where the link places pages, blocks until the memory is
  /// pinned for it, which takes the first lane as long as the memory is large.
  Result<void> add_lane(Link& link);

  void begin_round(std::uint32_t round, Motion motion);
  /// Blocks while the lanes have enough to do. False after close(). Of a file all of it is read
  /// ahead first.
  bool submit(PageRun run, Content content);
  /// A piece of device state, between begin_round() and end_round(): it goes on whichever lane
  /// takes it. Blocks while as many are under way as may be. False after close().
  bool submit_state(std::uint32_t section, std::uint64_t offset, std::span<const std::byte> piece);
  /// Blocks until the lanes took all that was submitted, and makes each of them end the round.
  /// False after close(). What was damaged may still be asked for, until the round is acknowledged.
  bool end_round();

  /// The receiver has all of the round that was ended.
  void round_acknowledged();

  /// Thread-safe. A receiver asks for runs again. Errc::protocol, Errc::integrity.
  Result<void> resend(const wire::Nak& nak);

  /// Thread-safe. A receiver keeps a piece of device state: nobody asks for it again.
  /// Errc::protocol.
  Result<void> state_acknowledged(const wire::StateAck& ack);

  /// Thread-safe. Wakes whoever is in submit(), submit_state() or end_round(). What no lane has
  /// taken yet is dropped; lanes end when they have sent what they took, at any rate.
  void close() noexcept {
    work_.close();
    window_.close();
    unbounded_.request_stop();
  }

  /// Thread-safe. Both sides must have the same when a round was acknowledged.
  wire::Transcript transcript() const;

  struct Totals {
    std::uint64_t wire_bytes = 0;
    std::uint64_t placed_bytes = 0;
    std::uint64_t zero_bytes = 0;
    std::uint64_t packets = 0;
    std::uint64_t resent_units = 0;
    std::uint64_t wait_micros = 0;
    std::uint64_t zero_copy_fallbacks = 0;
    std::uint64_t state_pieces = 0;  ///< that the receiver keeps
  };
  /// Thread-safe.
  Totals totals() const;
  std::vector<LaneReport> lane_reports() const;

 private:
  const GuestMemory& memory_;
  const LaneEvents events_;
  const LaneOptions options_;
  std::stop_source unbounded_;
  StateWindow window_;
  WorkQueue work_;
  mutable std::mutex mutex_;  // guards the list, not the lanes
  std::vector<std::unique_ptr<SendLane>> lanes_;
};

}  // namespace ferry
