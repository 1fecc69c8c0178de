// The rounds of a source: what each one sends, and what it came to.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ferry/event_loop.h"
#include "ferry/guest.h"
#include "memory/extent_walker.h"
#include "session/convergence.h"
#include "session/recipient.h"

namespace ferry {

/// Sends all of a guest's memory once, and then, round after round, what was written since. What a
/// round owes is known before it begins: dirty pages that were harvested, and suspects of the round
/// before. Used by one thread.
class Rounds {
 public:
  Rounds(SourceGuest& guest, Recipient& recipient);

  /// Before the first round: the tracker begins to watch, gradually where it can.
  Result<void> start_tracking();
  /// The first round: everything, with the guest running.
  Result<void> send_everything();
  /// The next one: what is owed.
  Result<void> send_owed(Motion motion);
  /// Adds what the guest has written to what the next round owes. Errc::guest.
  Result<void> harvest();

  std::uint64_t bytes_owed() const noexcept { return owed_.count() * k_unit_bytes; }
  bool none_owed() const noexcept { return owed_.none(); }

  /// A round with the guest running that would go beyond this fails with Errc::not_converging.
  void end_by(Clock::time_point deadline) noexcept { deadline_ = deadline; }

  /// Of the last round, and the harvest behind it.
  const RoundFigures& figures() const noexcept { return figures_; }
  std::uint32_t count() const noexcept { return static_cast<std::uint32_t>(reports_.size()); }
  const std::vector<RoundReport>& reports() const noexcept { return reports_; }

 private:
  Result<void> begin(Motion motion);
  Result<void> send_first(const MemoryRegion& region, const Extent& extent);
  Result<void> watch_beyond(const MemoryRegion& region, std::uint64_t offset);
  Result<void> submit(const Extent& extent);
  Result<void> submit(const PageRun& run, Content content);
  Result<void> check_deadline() const;
  Result<void> end();

  SourceGuest& guest_;
  Recipient& recipient_;
  DirtyBitmap owed_;
  std::optional<Clock::time_point> deadline_;
  GradualTracking* gradual_ = nullptr;  // during the first round, where the tracker has it
  std::uint64_t watched_ = 0;           // of the region that it sends, from the start
  std::vector<RoundReport> reports_;
  RoundFigures figures_;
  Motion motion_ = Motion::running;
  bool harvested_ = true;  // since the last round: what comes later is not of its time
  Clock::time_point began_at_{};
  Clock::time_point harvested_at_{};  // or the tracker's start
  std::uint64_t wire_bytes_before_ = 0;
};

}  // namespace ferry
