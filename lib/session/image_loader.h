// A guest out of a snapshot: the destination's half where the source is a file.
#pragma once

#include <atomic>
#include <memory>
#include <stop_token>
#include <vector>

#include "ferry/guest.h"
#include "ferry/place.h"
#include "ferry/runtime.h"
#include "session/state.h"

namespace ferry {

class SnapshotReader;

/// Loads one guest, once. Everything but the lanes happens on the thread that calls run(). Nothing
/// of it reaches the guest's start() before all of it has been read and was right.
class ImageLoader {
 public:
  ImageLoader(Runtime& runtime, DestinationGuest& guest, const ReceiveOptions& options,
              std::stop_token stop);

  /// Errc::integrity, naming region and offset, at the first damage.
  Result<void> run(Places& places, const Uri& from);

  DestinationState state() const noexcept { return state_; }
  void add_to(Report& report) const;

 private:
  Result<void> load(Places& places, const Uri& from);
  Result<void> load_state(const SnapshotReader& reader);
  Result<void> read(const SnapshotReader& reader);
  void enter(DestinationEvent event);

  EventLoop& loop_;
  DestinationGuest& guest_;
  const ReceiveOptions& options_;
  const std::stop_token stop_;
  const Clock::time_point began_ = Clock::now();
  DestinationState state_ = DestinationState::waiting;
  GuestMemory memory_;
  std::string from_;
  std::uint64_t absent_bytes_ = 0;
  std::vector<LaneReport> lanes_;  // once they have read all
  std::uint64_t state_bytes_ = 0;
  std::uint64_t state_sections_ = 0;
  std::atomic<std::uint64_t> read_bytes_ = 0;  // by the lanes; read by the loop: a figure
};

}  // namespace ferry
