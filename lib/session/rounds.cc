#include "session/rounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "session/guest_failure.h"

namespace ferry {
namespace {

// So much is watched, or handed to the lanes, before the clock is looked at again.
constexpr std::uint64_t k_submit_bytes = 16 * 1024 * 1024;

}  // namespace

Rounds::Rounds(SourceGuest& guest, Recipient& recipient)
    : guest_(guest), recipient_(recipient), owed_(guest.memory().layout()) {}

Result<void> Rounds::start_tracking() {
  DirtyTracker& tracker = guest_.dirty_tracker();
  gradual_ = tracker.gradual();
  return gradual_ != nullptr ? gradual_->begin() : tracker.start();
}

Result<void> Rounds::send_everything() {
  harvested_at_ = Clock::now();
  FERRY_TRY(begin(Motion::running));
  for (const MemoryRegion& region : guest_.memory().regions()) {
    watched_ = 0;
    ExtentWalker extents(region);
    while (const auto extent = FERRY_TRY(extents.next())) FERRY_TRY(send_first(region, *extent));
  }
  FERRY_TRY(end());
  if (std::exchange(gradual_, nullptr) != nullptr) figures_.watched = Watched::part_by_part;
  return {};
}

/// All of it is watched before it is read, data not much earlier.
Result<void> Rounds::send_first(const MemoryRegion& region, const Extent& extent) {
  if (gradual_ == nullptr) return submit(extent);
  const std::uint64_t end = extent.run.offset + extent.run.length;
  if (!extent.hole) {
    for (std::uint64_t at = extent.run.offset; at < end;) {
      FERRY_TRY(watch_beyond(region, at));
      const std::uint64_t length = std::min(end, watched_) - at;
      FERRY_TRY(submit({region.id, at, length}, Content::data));
      at += length;
    }
    return {};
  }
  FERRY_TRY(watch_beyond(region, end - 1));
  // It may have been filled after it was found to be a hole, and before it was watched.
  ExtentWalker again(region, extent.run);
  while (const auto part = FERRY_TRY(again.next())) FERRY_TRY(submit(*part));
  return {};
}

/// Goes on watching the region until the byte at `offset` is. By its addresses, whatever its
/// extents are: each call costs the guest something, and there may be very many extents.
Result<void> Rounds::watch_beyond(const MemoryRegion& region, std::uint64_t offset) {
  while (watched_ <= offset) {
    FERRY_TRY(check_deadline());
    FERRY_TRY(recipient_.check());  // in a long hole nothing else hears of a failure, or of a stop
    const std::uint64_t length = std::min(region.length - watched_, k_submit_bytes);
    if (auto watched = gradual_->watch({region.id, watched_, length}); !watched) {
      return of_guest(std::move(watched).error(), "watch memory that is to be sent");
    }
    watched_ += length;
  }
  return {};
}

Result<void> Rounds::send_owed(Motion motion) {
  // A copy, since what changes on the way is added to owed_ while this round goes on.
  const DirtyBitmap owed = std::exchange(owed_, DirtyBitmap(guest_.memory().layout()));
  FERRY_TRY(begin(motion));
  for (const MemoryRegion& region : guest_.memory().regions()) {
    std::uint64_t from = 0;
    while (const auto run = owed.next_run(region.id, from)) {
      FERRY_TRY(submit(*run, Content::data));
      from = run->offset + run->length;
    }
  }
  return end();
}

Result<void> Rounds::harvest() {
  if (auto harvested = guest_.dirty_tracker().harvest(owed_); !harvested) {
    return of_guest(std::move(harvested).error(), "harvest dirty pages");
  }
  const auto now = Clock::now();
  const auto passed = now - std::exchange(harvested_at_, now);
  if (std::exchange(harvested_, true)) return {};
  figures_.dirty_bytes = bytes_owed();
  figures_.dirty_time = passed;
  reports_.back().dirty_bytes = figures_.dirty_bytes;
  reports_.back().dirty_rate = measured_rate(figures_.dirty_bytes, passed);
  return {};
}

Result<void> Rounds::begin(Motion motion) {
  motion_ = motion;
  began_at_ = Clock::now();
  wire_bytes_before_ = recipient_.line().wire_bytes;
  reports_.push_back({.round = count(), .guest_ran = motion == Motion::running});
  return recipient_.begin_round(reports_.back().round, motion);
}

Result<void> Rounds::submit(const Extent& extent) {
  return submit(extent.run, extent.hole ? Content::zeros : Content::data);
}

Result<void> Rounds::submit(const PageRun& run, Content content) {
  reports_.back().bytes += run.length;
  reports_.back().pages += units_in(run.length);
  if (content == Content::zeros) return recipient_.submit(run, content);
  for (PageRun rest = run; rest.length > 0;) {
    FERRY_TRY(check_deadline());
    PageRun piece = rest;
    piece.length = std::min(rest.length, k_submit_bytes);
    FERRY_TRY(recipient_.submit(piece, content));
    rest.offset += piece.length;
    rest.length -= piece.length;
  }
  return {};
}

Result<void> Rounds::check_deadline() const {
  if (!deadline_ || motion_ != Motion::running || Clock::now() <= *deadline_) return {};
  return fail(Errc::not_converging,
              fmt::format("send round {}: the time that was given for all rounds is over",
                          reports_.back().round));
}

Result<void> Rounds::end() {
  RoundReport& report = reports_.back();
  FERRY_TRY(recipient_.end_round(report.round, owed_));
  FERRY_TRY(check_deadline());
  report.suspect = owed_.count();  // nothing else was owed: it is harvested behind the round
  report.time = Clock::now() - began_at_;
  report.wire_bytes = recipient_.line().wire_bytes - wire_bytes_before_;
  report.bandwidth = measured_rate(report.wire_bytes, report.time);
  figures_ = {.wire_bytes = report.wire_bytes, .time = report.time};
  harvested_ = false;
  return {};
}

}  // namespace ferry
