#include "common/guest.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

namespace example {
namespace {

/// Clocks of two machines, or of two boots, have nothing to say to each other.
std::string boot_id() {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
  return id;
}

}  // namespace

void Workers::resume() {
  for (const auto& worker : workers_) worker->resume();
}

ferry::Result<void> Workers::pause() {
  ferry::Result<void> first;
  for (const auto& worker : workers_) {
    if (auto paused = worker->pause(); !paused && first) first = std::move(paused);
  }
  return first;
}

void Workers::throttle(unsigned percent) {
  for (const auto& worker : workers_) worker->throttle(percent);
}

void Workers::save(ferry::StateWriter& out) const {
  out.section(k_section, 1).string(boot_id());
  for (const auto& worker : workers_) {
    const Heartbeats& beats = worker->heartbeats();
    out.u64(beats.count)
        .u64(static_cast<std::uint64_t>(beats.last.time_since_epoch().count()))
        .u64(static_cast<std::uint64_t>(beats.longest_gap.count()));
  }
}

ferry::Result<void> Workers::load(ferry::StateReader& in) {
  const bool same_clock = FERRY_TRY(in.string(64)) == boot_id();
  for (const auto& worker : workers_) {
    Heartbeats& beats = worker->heartbeats();
    beats.count = FERRY_TRY(in.u64());
    const std::chrono::nanoseconds last(static_cast<std::int64_t>(FERRY_TRY(in.u64())));
    beats.last = same_clock ? Clock::time_point(last) : Clock::now();
    beats.longest_gap = std::chrono::nanoseconds(static_cast<std::int64_t>(FERRY_TRY(in.u64())));
  }
  return {};
}

void Workers::add_to(Figures& figures) const {
  for (const auto& worker : workers_) {
    const Heartbeats& beats = worker->heartbeats();
    figures.heartbeats += beats.count;
    figures.longest_gap = std::max(figures.longest_gap, beats.longest_gap);
  }
}

ferry::Result<void> Guest::resume() {
  workers().resume();
  return {};
}

ferry::Result<ferry::GuestMemory> Guest::map_memory(const ferry::Layout& wanted) {
  if (wanted == memory().layout()) return memory();
  return ferry::fail(ferry::Errc::guest, "the guest that comes has other memory",
                     "give both sides the same --memory");
}

}  // namespace example
