// One lane of a snapshot that is being written.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>

#include "ferry/bandwidth.h"
#include "ferry/channel.h"
#include "ferry/memory.h"
#include "multifd/lane_clock.h"
#include "multifd/send_lane.h"
#include "snapshot/clone_source.h"
#include "snapshot/lane_pipeline.h"
#include "snapshot/snapshot_writer.h"

namespace ferry {

/// Takes runs from a queue, tells zeros from data, checksums the data and puts it at its place.
/// What the guest may write to meanwhile is copied first, and the copy is checksummed and put; a
/// guest that stands still is put from where it lies. What only a descriptor reaches is read by the
/// lane that writes, several runs ahead. What an image on the same file system has already is
/// shared with it rather than put, where that can be. Used by one thread at a time.
class PutLane {
 public:
  /// `io` is the writer's, with the memory's regions behind the snapshot's own.
  PutLane(SnapshotWriter& writer, const GuestMemory& memory, std::unique_ptr<PlacedIo> io,
          BandwidthLimit* bandwidth);

  /// Deals with work until there is none, and with all of it to its end. `unbounded`, once it is
  /// requested, lifts the bound on bandwidth.
  Result<void> serve(WorkQueue& work, Motion motion, CloneSource& clones,
                     const std::stop_token& unbounded);

  /// Written by the lane's thread, read by any: relaxed, each for itself.
  struct Counters {
    std::atomic<std::uint64_t> done_bytes = 0;  ///< of memory
    std::atomic<std::uint64_t> put_bytes = 0;
    std::atomic<std::uint64_t> zero_bytes = 0;
    std::atomic<std::uint64_t> puts = 0;
  };
  const Counters& counters() const noexcept { return counters_; }
  /// Thread-safe.
  LaneReport report(unsigned lane) const;

 private:
  /// Of a round.
  struct Round {
    Motion motion;
    CloneSource& clones;
    const std::stop_token& unbounded;
  };

  Result<void> deal_with_all(WorkQueue& work);
  std::optional<PageWork> next(WorkQueue& work);
  Result<void> begin_piece(const PageRun& piece);
  Result<void> put_piece(const PageRun& piece, std::span<const std::byte> units);
  Result<void> put_units(const PageRun& run, std::span<const std::byte> units);
  Result<void> note_zeros(const PageRun& run);

  SnapshotWriter& writer_;
  const GuestMemory& memory_;
  BandwidthLimit* const bandwidth_;
  Counters counters_;
  PhaseClock clock_;
  LanePipeline pipeline_;
  const Round* round_ = nullptr;  // in serve()
};

}  // namespace ferry
