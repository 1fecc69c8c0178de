#include "session/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "ferry/event_loop.h"
#include "memory/region_io.h"
#include "session/fresh_token.h"
#include "session/guest_failure.h"

namespace ferry {
namespace {

/// Tells what each of several things in a row took.
class Laps {
 public:
  std::chrono::nanoseconds next() noexcept {
    const auto now = Clock::now();
    return now - std::exchange(last_, now);
  }

 private:
  Clock::time_point last_ = Clock::now();
};

Convergence::Goal goal_of(const SendOptions& options) {
  return {.max_downtime = options.max_downtime,
          // Who asks for very little gets it where the rest is small, and not never.
          .allowance = std::min(options.switch_allowance, options.max_downtime / 2),
          .max_rounds = options.max_rounds,
          .otherwise = options.when_not_converging};
}

double in_milliseconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

}  // namespace

Source::Source(SourceGuest& guest, Recipient& recipient, const SendOptions& options,
               PrecopyGauge& gauge, std::stop_token stop)
    : guest_(guest),
      recipient_(recipient),
      options_(options),
      gauge_(gauge),
      stop_(std::move(stop)),
      rounds_(guest, recipient),
      convergence_(goal_of(options)) {}

Result<void> Source::run() {
  auto done = migrate();
  if (done) return {};
  const bool was_paused = state_ == SourceState::paused || state_ == SourceState::prepared;
  enter(SourceEvent::failed);
  slow_to(0);
  if (was_paused) {
    if (auto resumed = guest_.resume(); !resumed) not_resumed_ = std::move(resumed).error();
  }
  return done;
}

Result<void> Source::migrate() {
  enter(SourceEvent::connect);
  FERRY_TRY(recipient_.layout(guest_.memory().layout()));
  enter(SourceEvent::agreed);
  tracking_.emplace(guest_.dirty_tracker());
  FERRY_TRY(precopy());
  return switch_over();
}

Result<void> Source::precopy() {
  if (auto started = rounds_.start_tracking(); !started) {
    return of_guest(std::move(started).error(), "start dirty tracking");
  }
  if (options_.max_time.count() > 0) rounds_.end_by(Clock::now() + options_.max_time);
  show(guest_.memory().total_bytes());
  FERRY_TRY(rounds_.send_everything());
  while (true) {
    FERRY_TRY(rounds_.harvest());
    if (FERRY_TRY(converged()) && FERRY_TRY(may_switch())) return {};
    show(rounds_.bytes_owed());
    FERRY_TRY(rounds_.send_owed(Motion::running));
  }
}

/// After a round: is it time to pause the guest?
Result<bool> Source::converged() {
  using enum Convergence::Verdict;
  switch (convergence_.after_round(rounds_.figures(), recipient_.line().round_trip)) {
    case switch_over:
      return true;
    case another_round:
      return false;
    case slow_down:
      slow_to(convergence_.throttle());
      return false;
    case give_up:
      return gives_up();
  }
  return false;
}

/// The hook may take its time, in which the guest writes.
Result<bool> Source::may_switch() {
  if (hook_called_ || !options_.before_switch) return true;
  hook_called_ = true;
  if (auto allowed = options_.before_switch(); !allowed) {
    return of_guest(std::move(allowed).error(), "before the switch");
  }
  FERRY_TRY(rounds_.harvest());
  return convergence_.fits(rounds_.bytes_owed());
}

std::unexpected<Error> Source::gives_up() const {
  return fail(Errc::not_converging,
              fmt::format("move a running guest: it does not converge: after {} rounds {:.1f} MiB "
                          "are left, the guest writes {:.1f} MiB/s, the line carries {:.1f} MiB/s: "
                          "it would stand still for {:.0f} ms, and {} ms are asked",
                          rounds_.count(), static_cast<double>(rounds_.bytes_owed()) / 0x1p20,
                          static_cast<double>(convergence_.dirty_rate()) / 0x1p20,
                          static_cast<double>(convergence_.bandwidth()) / 0x1p20,
                          in_milliseconds(convergence_.expected()), options_.max_downtime.count()));
}

Result<void> Source::switch_over() {
  const auto paused_at = Clock::now();
  Laps laps;
  FERRY_TRY(pause());
  parts_.pause = laps.next();
  FERRY_TRY(rounds_.harvest());
  FERRY_TRY(send_rest());
  parts_.memory = laps.next();
  FERRY_TRY(save_state());
  parts_.state = laps.next();
  FERRY_TRY(rounds_.harvest());
  FERRY_TRY(send_rest());
  parts_.state_memory = laps.next();
  auto digests_taken = FERRY_TRY(digests());
  parts_.digests = laps.next();
  FERRY_TRY(recipient_.prepare(std::move(digests_taken)));
  enter(SourceEvent::ready);
  parts_.prepare = laps.next();
  FERRY_TRY(recipient_.check());
  enter(SourceEvent::commit);
  FERRY_TRY(recipient_.commit(fresh_token()));
  enter(SourceEvent::started);
  parts_.commit = laps.next();
  downtime_ = Clock::now() - paused_at;
  return {};
}

Result<void> Source::pause() {
  if (auto paused = guest_.pause(); !paused) {
    return of_guest(std::move(paused).error(), "pause the guest");
  }
  enter(SourceEvent::pause);
  slow_to(0);
  return {};
}

Result<void> Source::send_rest() {
  if (rounds_.none_owed()) return {};
  FERRY_TRY(rounds_.send_owed(Motion::still));
  // The suspects of earlier rounds have come once more. A guest that stands still makes no others:
  // a recipient that goes on naming some would hold it for ever.
  if (rounds_.none_owed()) return {};
  return fail(Errc::protocol, "the recipient suspects memory of a guest that stands still");
}

Result<void> Source::save_state() {
  StateWriter out(recipient_.state());
  auto saved = guest_.save_state(out);
  FERRY_TRY(out.status());  // where the line is gone, that is why the guest could not save
  if (!saved) return of_guest(std::move(saved).error(), "save device state");
  FERRY_TRY(out.finish());
  state_bytes_ = out.bytes_written();
  state_sections_ = out.sections();
  return {};
}

void Source::slow_to(unsigned percent) {
  if (percent == throttle_) return;
  throttle_ = percent;
  options_.throttle(percent);
}

void Source::show(std::uint64_t round_bytes) {
  gauge_.set({.round = rounds_.count(),
              .round_bytes = round_bytes,
              .dirty_rate = convergence_.dirty_rate(),
              .bandwidth = convergence_.bandwidth(),
              .throttle = throttle_,
              .outlook = convergence_.outlook(),
              .expected_downtime = convergence_.expected(),
              .eta = convergence_.eta()});
}

Result<std::vector<wire::Digest>> Source::digests() const {
  std::vector<wire::Digest> digests;
  if (options_.verify != Verify::full) return digests;
  for (const MemoryRegion& region : guest_.memory().regions()) {
    digests.push_back(FERRY_TRY(digest_of(region, stop_)));
  }
  return digests;
}

void Source::add_to(Report& report) const {
  report.rounds = rounds_.count();
  report.each_round = rounds_.reports();
  report.downtime = downtime_;
  report.downtime_parts = parts_;
  report.throttle = convergence_.throttle();
  report.state_bytes = state_bytes_;
  report.state_sections = state_sections_;
}

void Source::enter(SourceEvent event) {
  const auto next_state = next(state_, event);
  assert(next_state);
  state_ = *next_state;
}

}  // namespace ferry
