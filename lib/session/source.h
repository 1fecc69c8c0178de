// The source's half of a migration: rounds, pause, hand-over. No I/O of its own.
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <vector>

#include "ferry/guest.h"
#include "session/convergence.h"
#include "session/recipient.h"
#include "session/state.h"

namespace ferry {

/// Migrates one guest to one recipient, once. Everything happens on the thread that calls run().
class Source {
 public:
  Source(SourceGuest& guest, Recipient& recipient, Verify verify, std::stop_token stop);

  /// A stop request is heard by the recipient, and here while digests are taken. Where it fails
  /// before the commit, the guest runs on here: it was resumed if it was paused.
  Result<void> run();

  /// Why the guest stands still although it is ours, where it could not be resumed.
  const std::optional<Error>& not_resumed() const noexcept { return not_resumed_; }

  SourceState state() const noexcept { return state_; }
  std::uint32_t rounds() const noexcept { return round_; }
  std::chrono::nanoseconds downtime() const noexcept { return downtime_; }

 private:
  Result<void> migrate();
  Result<void> precopy();
  Result<void> switch_over();
  Result<void> send_everything();
  Result<void> send_dirty();
  Result<void> harvest();
  Result<void> begin_round();
  Result<void> end_round();
  Result<std::vector<wire::Digest>> digests() const;
  void enter(SourceEvent event);

  SourceGuest& guest_;
  Recipient& recipient_;
  const Verify verify_;
  const std::stop_token stop_;
  SourceState state_ = SourceState::idle;
  DirtyBitmap dirty_;  // what the next round owes
  Convergence convergence_;
  std::uint32_t round_ = 0;
  std::chrono::nanoseconds downtime_{};
  std::optional<Error> not_resumed_;
};

}  // namespace ferry
