#include "session/convergence.h"

#include <algorithm>
#include <cmath>

namespace ferry {
namespace {

using std::chrono::nanoseconds;
using Seconds = std::chrono::duration<double>;

// A round that leaves less than nine tenths of the least so far has gained.
constexpr double k_gain = 0.9;
// So many rounds without a gain are no accident: the next would leave as much.
constexpr unsigned k_patience = 3;

// A round with so many bytes on the line fills it, and tells its rate; a smaller one is over before
// all lanes have work, and says only what the line can do at least.
constexpr std::uint64_t k_full_round_bytes = 16 * 1024 * 1024;

// Each step is felt before the next; 99 leaves a guest just alive.
constexpr unsigned k_first_throttle = 20;
constexpr unsigned k_throttle_step = 10;
constexpr unsigned k_most_throttle = 99;

// The last round, PREPARE and READY, COMMIT and STARTED.
constexpr int k_round_trips = 3;

nanoseconds from_seconds(double seconds) noexcept {
  constexpr double most = 1e9 * 60 * 60 * 24 * 365;
  return nanoseconds(static_cast<nanoseconds::rep>(std::min(seconds * 1e9, most)));
}

}  // namespace

std::uint64_t measured_rate(std::uint64_t bytes, nanoseconds time) noexcept {
  if (time.count() <= 0) return 0;
  return static_cast<std::uint64_t>(static_cast<double>(bytes) / Seconds(time).count());
}

nanoseconds time_for(std::uint64_t bytes, std::uint64_t rate) noexcept {
  if (bytes == 0) return {};
  if (rate == 0) return nanoseconds::max() / 4;  // may still be added to
  return from_seconds(static_cast<double>(bytes) / static_cast<double>(rate));
}

nanoseconds expected_downtime(std::uint64_t dirty_bytes, std::uint64_t bandwidth,
                              const SwitchCost& cost) noexcept {
  return time_for(dirty_bytes, bandwidth) + cost.allowance + k_round_trips * cost.round_trip;
}

std::optional<nanoseconds> time_to_switch(std::uint64_t dirty_bytes, std::uint64_t dirty_rate,
                                          std::uint64_t bandwidth, nanoseconds downtime) noexcept {
  if (bandwidth == 0 || dirty_rate >= bandwidth) return std::nullopt;
  const double ratio = static_cast<double>(dirty_rate) / static_cast<double>(bandwidth);
  const double first = static_cast<double>(dirty_bytes) / static_cast<double>(bandwidth);
  // first * (1 + ratio + ratio^2 + ...), of which the last rounds are the downtime's own.
  return std::max(from_seconds(first / (1 - ratio)), downtime);
}

Convergence::Verdict Convergence::after_round(const RoundFigures& round,
                                              nanoseconds round_trip) noexcept {
  ++rounds_;
  measure(round, round_trip);
  expected_ = expected_downtime(round.dirty_bytes, bandwidth_, cost());
  const bool stuck = stalled(round.dirty_bytes);
  if (fits(round.dirty_bytes)) {
    outlook_ = Outlook::converging;
    eta_ = expected_;
    return Verdict::switch_over;
  }
  // Where the hand-over alone takes longer than was asked, no round helps but one that leaves
  // nothing.
  const bool hopeless = expected_downtime(0, bandwidth_, cost()) > goal_.max_downtime;
  const bool rate_known = round.watched == Watched::throughout;  // else about half of it was seen
  if (stuck || hopeless) {
    outlook_ = Outlook::not_converging;
  } else {
    const bool unknown = !rate_known || (rounds_ < 2 && dirty_rate_ >= bandwidth_);
    outlook_ = unknown ? Outlook::unknown : Outlook::converging;
  }
  eta_ = outlook_ == Outlook::not_converging || !rate_known
             ? std::nullopt
             : time_to_switch(round.dirty_bytes, dirty_rate_, bandwidth_, expected_);
  if (goal_.max_rounds != 0 && rounds_ >= goal_.max_rounds) return Verdict::give_up;
  if (!stuck || goal_.otherwise == NotConverging::keep_trying) return Verdict::another_round;
  if (goal_.otherwise == NotConverging::give_up) return Verdict::give_up;
  if (throttle_ == k_most_throttle) return Verdict::another_round;
  throttle_ =
      throttle_ == 0 ? k_first_throttle : std::min(throttle_ + k_throttle_step, k_most_throttle);
  // It is another guest now: one more round without a gain, and it is slowed again.
  least_dirty_ = round.dirty_bytes;
  without_gain_ = k_patience - 1;
  return Verdict::slow_down;
}

bool Convergence::fits(std::uint64_t dirty_bytes) const noexcept {
  // With nothing dirty there is nothing to wait for, whatever the rest takes.
  return dirty_bytes == 0 ||
         expected_downtime(dirty_bytes, bandwidth_, cost()) <= goal_.max_downtime;
}

void Convergence::measure(const RoundFigures& round, nanoseconds round_trip) noexcept {
  round_trip_ = round_trip;
  dirty_rate_ = measured_rate(round.dirty_bytes, round.dirty_time);
  const std::uint64_t rate = measured_rate(round.wire_bytes, round.time);
  if (round.wire_bytes >= k_full_round_bytes) {
    bandwidth_ = rate;
    return;  // what it cost beside sending is in its rate
  }
  bandwidth_ = std::max(bandwidth_, rate);
  if (rounds_ < 2) return;  // the first has gone through holes and zeros, and says nothing of that
  const nanoseconds beside =
      std::max(round.time - time_for(round.wire_bytes, bandwidth_), nanoseconds{});
  overhead_ = std::min(overhead_.value_or(beside), beside);
}

SwitchCost Convergence::cost() const noexcept {
  return {.allowance = goal_.allowance,
          .round_trip = std::max(round_trip_, overhead_.value_or(nanoseconds{}))};
}

bool Convergence::stalled(std::uint64_t dirty_bytes) noexcept {
  if (static_cast<double>(dirty_bytes) < k_gain * static_cast<double>(least_dirty_)) {
    least_dirty_ = dirty_bytes;
    without_gain_ = 0;
  } else {
    ++without_gain_;
  }
  return without_gain_ >= k_patience;
}

}  // namespace ferry
