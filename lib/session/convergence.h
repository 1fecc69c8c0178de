// When the guest is paused, and what becomes of one that writes too fast. Pure: no clock, no I/O.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>

#include "ferry/guest.h"

namespace ferry {

/// How much of the guest's writing a round's harvest knows.
enum class Watched {
  throughout,    ///< all of it
  part_by_part,  ///< of each part only what came behind its sending: about half
};

/// What was measured of one round.
struct RoundFigures {
  std::uint64_t wire_bytes = 0;
  std::chrono::nanoseconds time{};        ///< from its begin to its acknowledgement
  std::uint64_t dirty_bytes = 0;          ///< what the next one owes
  std::chrono::nanoseconds dirty_time{};  ///< in which the guest wrote them
  Watched watched = Watched::throughout;
};

/// What a pause costs beside sending what is dirty.
struct SwitchCost {
  std::chrono::nanoseconds allowance{};   ///< pause(), device state, start()
  std::chrono::nanoseconds round_trip{};  ///< of the line
};

/// Bytes per second; 0 where no time passed.
std::uint64_t measured_rate(std::uint64_t bytes, std::chrono::nanoseconds time) noexcept;

/// Sending so much at this rate; the longest time there is where the rate is 0.
std::chrono::nanoseconds time_for(std::uint64_t bytes, std::uint64_t rate) noexcept;

/// From pause() to STARTED: the last round, PREPARE and COMMIT are a round trip each.
std::chrono::nanoseconds expected_downtime(std::uint64_t dirty_bytes, std::uint64_t bandwidth,
                                           const SwitchCost& cost) noexcept;

/// Until the guest has moved, if every round takes as long as the guest needs to write what the
/// next one sends: a geometric series. Nothing where it has no end.
std::optional<std::chrono::nanoseconds> time_to_switch(std::uint64_t dirty_bytes,
                                                       std::uint64_t dirty_rate,
                                                       std::uint64_t bandwidth,
                                                       std::chrono::nanoseconds downtime) noexcept;

/// Judges a migration after each of its rounds.
class Convergence {
 public:
  struct Goal {
    std::chrono::nanoseconds max_downtime{};
    std::chrono::nanoseconds allowance{};
    std::uint32_t max_rounds = 0;  ///< 0: any number
    NotConverging otherwise = NotConverging::keep_trying;
  };
  explicit Convergence(const Goal& goal) noexcept : goal_(goal) {}

  enum class Verdict {
    another_round,
    switch_over,  ///< what is dirty fits into the downtime that was asked
    slow_down,    ///< another round, and the guest is to be slowed to throttle() percent
    give_up,
  };
  /// `round_trip`: as far as the line knows it, else 0.
  Verdict after_round(const RoundFigures& round, std::chrono::nanoseconds round_trip) noexcept;

  /// More was dirtied since: is it still time to pause?
  bool fits(std::uint64_t dirty_bytes) const noexcept;

  std::uint64_t bandwidth() const noexcept { return bandwidth_; }
  std::uint64_t dirty_rate() const noexcept { return dirty_rate_; }
  unsigned throttle() const noexcept { return throttle_; }
  Outlook outlook() const noexcept { return outlook_; }
  std::chrono::nanoseconds expected() const noexcept { return expected_; }
  std::optional<std::chrono::nanoseconds> eta() const noexcept { return eta_; }

 private:
  void measure(const RoundFigures& round, std::chrono::nanoseconds round_trip) noexcept;
  bool stalled(std::uint64_t dirty_bytes) noexcept;
  SwitchCost cost() const noexcept;

  const Goal goal_;
  std::uint32_t rounds_ = 0;
  std::uint64_t bandwidth_ = 0;
  std::uint64_t dirty_rate_ = 0;
  std::chrono::nanoseconds round_trip_{};
  std::optional<std::chrono::nanoseconds> overhead_;  // of a round, beside sending; measured
  std::uint64_t least_dirty_ = std::numeric_limits<std::uint64_t>::max();
  unsigned without_gain_ = 0;  // rounds since least_dirty_ became clearly less
  unsigned throttle_ = 0;
  Outlook outlook_ = Outlook::unknown;
  std::chrono::nanoseconds expected_{};
  std::optional<std::chrono::nanoseconds> eta_;
};

}  // namespace ferry
