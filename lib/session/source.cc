#include "session/source.h"

#include <cassert>
#include <utility>

#include "ferry/event_loop.h"
#include "memory/extent_walker.h"
#include "memory/region_io.h"
#include "session/fresh_token.h"

namespace ferry {
namespace {

/// Stops a tracker when the migration ends, however it ends.
class Tracking {
 public:
  explicit Tracking(DirtyTracker& tracker) : tracker_(tracker) {}
  Tracking(const Tracking&) = delete;
  Tracking& operator=(const Tracking&) = delete;
  ~Tracking() { tracker_.stop(); }

 private:
  DirtyTracker& tracker_;
};

Error of_guest(Error error, std::string_view act) {
  error.code = Errc::guest;
  error.context = std::string(act) + ": " + error.context;
  return error;
}

}  // namespace

Source::Source(SourceGuest& guest, Recipient& recipient, Verify verify, std::stop_token stop)
    : guest_(guest),
      recipient_(recipient),
      verify_(verify),
      stop_(std::move(stop)),
      dirty_(guest.memory().layout()) {}

Result<void> Source::run() {
  auto done = migrate();
  if (done) return {};
  const bool was_paused = state_ == SourceState::paused || state_ == SourceState::prepared;
  enter(SourceEvent::failed);
  if (was_paused) {
    if (auto resumed = guest_.resume(); !resumed) not_resumed_ = std::move(resumed).error();
  }
  return done;
}

Result<void> Source::migrate() {
  enter(SourceEvent::connect);
  FERRY_TRY(recipient_.layout(guest_.memory().layout()));
  enter(SourceEvent::agreed);
  const Tracking tracking(guest_.dirty_tracker());
  FERRY_TRY(precopy());
  return switch_over();
}

Result<void> Source::precopy() {
  DirtyTracker& tracker = guest_.dirty_tracker();
  if (auto started = tracker.start(); !started) {
    return std::unexpected(of_guest(std::move(started).error(), "start dirty tracking"));
  }
  FERRY_TRY(send_everything());
  while (true) {
    FERRY_TRY(harvest());
    if (!convergence_.another_round(dirty_.count() * k_unit_bytes)) return {};
    FERRY_TRY(send_dirty());
  }
}

Result<void> Source::switch_over() {
  const auto paused_at = Clock::now();
  if (auto paused = guest_.pause(); !paused) {
    return std::unexpected(of_guest(std::move(paused).error(), "pause the guest"));
  }
  enter(SourceEvent::pause);
  FERRY_TRY(harvest());
  if (!dirty_.none()) FERRY_TRY(send_dirty());
  // The suspects of earlier rounds have come once more. A guest that stands still makes no others:
  // a recipient that goes on naming some would hold it for ever.
  if (!dirty_.none()) {
    return fail(Errc::protocol, "the recipient suspects memory of a guest that stands still");
  }

  FERRY_TRY(recipient_.prepare(FERRY_TRY(digests())));
  enter(SourceEvent::ready);
  enter(SourceEvent::commit);
  FERRY_TRY(recipient_.commit(fresh_token()));
  enter(SourceEvent::started);
  downtime_ = Clock::now() - paused_at;
  return {};
}

Result<void> Source::harvest() {
  if (auto harvested = guest_.dirty_tracker().harvest(dirty_); !harvested) {
    return std::unexpected(of_guest(std::move(harvested).error(), "harvest dirty pages"));
  }
  return {};
}

Result<void> Source::send_everything() {
  FERRY_TRY(begin_round());
  for (const MemoryRegion& region : guest_.memory().regions()) {
    ExtentWalker extents(region);
    while (const auto extent = FERRY_TRY(extents.next())) {
      FERRY_TRY(recipient_.submit(extent->run, extent->hole ? Content::zeros : Content::data));
    }
  }
  return end_round();
}

Result<void> Source::send_dirty() {
  // A copy, since what changes on the way is added to dirty_ while this round goes on.
  const DirtyBitmap owed = std::exchange(dirty_, DirtyBitmap(guest_.memory().layout()));
  FERRY_TRY(begin_round());
  for (const MemoryRegion& region : guest_.memory().regions()) {
    std::uint64_t from = 0;
    while (const auto run = owed.next_run(region.id, from)) {
      FERRY_TRY(recipient_.submit(*run, Content::data));
      from = run->offset + run->length;
    }
  }
  return end_round();
}

Result<void> Source::begin_round() {
  const bool runs = state_ == SourceState::precopy;
  return recipient_.begin_round(round_, runs ? Motion::running : Motion::still);
}

Result<void> Source::end_round() {
  FERRY_TRY(recipient_.end_round(round_, dirty_));
  ++round_;
  return {};
}

Result<std::vector<wire::Digest>> Source::digests() const {
  std::vector<wire::Digest> digests;
  if (verify_ != Verify::full) return digests;
  for (const MemoryRegion& region : guest_.memory().regions()) {
    digests.push_back(FERRY_TRY(digest_of(region, stop_)));
  }
  return digests;
}

void Source::enter(SourceEvent event) {
  const auto next_state = next(state_, event);
  assert(next_state);
  state_ = *next_state;
}

}  // namespace ferry
