// The source's half of a migration: rounds, pause, hand-over. No I/O of its own.
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <vector>

#include "ferry/guest.h"
#include "session/convergence.h"
#include "session/precopy_gauge.h"
#include "session/recipient.h"
#include "session/rounds.h"
#include "session/state.h"

namespace ferry {

/// Migrates one guest to one recipient, once. Everything happens on the thread that calls run().
class Source {
 public:
  /// `gauge` hears how the rounds go; it and `options` outlive this.
  Source(SourceGuest& guest, Recipient& recipient, const SendOptions& options, PrecopyGauge& gauge,
         std::stop_token stop);

  /// A stop request is heard by the recipient, and here while digests are taken. Where it fails
  /// before the commit, the guest runs on here: it was resumed if it was paused, and is not slowed.
  Result<void> run();

  /// Why the guest stands still although it is ours, where it could not be resumed.
  const std::optional<Error>& not_resumed() const noexcept { return not_resumed_; }

  SourceState state() const noexcept { return state_; }
  /// Adds rounds, downtime and device state.
  void add_to(Report& report) const;

 private:
  Result<void> migrate();
  Result<void> precopy();
  Result<bool> converged();
  Result<bool> may_switch();
  Result<void> switch_over();
  Result<void> pause();
  Result<void> send_rest();
  Result<void> save_state();
  void slow_to(unsigned percent);
  void show(std::uint64_t round_bytes);
  std::unexpected<Error> gives_up() const;
  Result<std::vector<wire::Digest>> digests() const;
  void enter(SourceEvent event);

  /// Stops a tracker when the migration is over, however it ended. That takes a while, and nobody
  /// is to wait for it: neither a guest that is resumed nor one that runs elsewhere by now.
  class Tracking {
   public:
    explicit Tracking(DirtyTracker& tracker) : tracker_(tracker) {}
    Tracking(const Tracking&) = delete;
    Tracking& operator=(const Tracking&) = delete;
    ~Tracking() { tracker_.stop(); }

   private:
    DirtyTracker& tracker_;
  };

  SourceGuest& guest_;
  Recipient& recipient_;
  const SendOptions& options_;
  PrecopyGauge& gauge_;
  const std::stop_token stop_;
  SourceState state_ = SourceState::idle;
  Rounds rounds_;
  Convergence convergence_;
  bool hook_called_ = false;
  unsigned throttle_ = 0;  // as it is now
  std::uint64_t state_bytes_ = 0;
  std::uint64_t state_sections_ = 0;
  std::chrono::nanoseconds downtime_{};
  DowntimeReport parts_;
  std::optional<Error> not_resumed_;
  std::optional<Tracking> tracking_;  // stopped last: by whoever lets go of the source
};

}  // namespace ferry
