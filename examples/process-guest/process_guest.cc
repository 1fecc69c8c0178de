#include "process-guest/process_guest.h"

#include <algorithm>

namespace example {
namespace {

using ferry::Errc;
using ferry::Result;

constexpr const char* k_walkers = "walkers";

}  // namespace

Result<std::unique_ptr<Guest>> ProcessGuest::create(const Options& options) {
  Ram ram = FERRY_TRY(Ram::create(options.memory));
  if (options.populate) FERRY_TRY(ram.populate());
  auto memory = FERRY_TRY(ram.as_guest_memory());
  std::unique_ptr<ProcessGuest> guest(new ProcessGuest(options, std::move(ram), std::move(memory)));
  // A guest that only arrives tracks nothing: its kernel may be an older one.
  if (options.incoming.empty()) {
    guest->tracker_ = FERRY_TRY(ferry::track_own_mappings(guest->memory_));
  }
  return guest;
}

ProcessGuest::ProcessGuest(const Options& options, Ram ram, ferry::GuestMemory memory)
    : fill_(options.fill),
      pace_(Pace::of(options.dirty_rate / options.workers)),
      ram_(std::move(ram)),
      memory_(std::move(memory)),
      walkers_(options.workers) {
  for (unsigned index = 0; index < options.workers; ++index) {
    workers_.add(std::make_unique<Worker>(pace_, [this, &walker = walkers_[index]] {
      walker.errors += step(ram_, walker.walk, pace_.pages);
      return Result<void>{};
    }));
  }
}

Result<void> ProcessGuest::boot() {
  for (unsigned index = 0; index < walkers_.size(); ++index) {
    const Slice slice =
        slice_of(0, ram_.bytes().size(), index, static_cast<unsigned>(walkers_.size()));
    if (fill_ == Fill::noise) fill_with_noise(ram_, slice);
    walkers_[index].walk = {.slice = slice, .next = slice.begin};
  }
  return resume();
}

Result<void> ProcessGuest::pause() { return workers_.pause(); }

Result<void> ProcessGuest::save_state(ferry::StateWriter& out) {
  out.section(k_walkers, 1).u32(static_cast<std::uint32_t>(walkers_.size()));
  for (const Walker& walker : walkers_) {
    const Walk& walk = walker.walk;
    out.u64(walk.slice.begin).u64(walk.slice.end).u64(walk.next).u64(walk.pass);
    out.u64(walker.errors);
  }
  workers_.save(out);
  return {};
}

namespace {

/// The peer's word: a walk outside of memory would be ours to regret.
bool is_sane(const Walk& walk, std::uint64_t memory) {
  const auto is_page = [](std::uint64_t address) { return address % ferry::k_unit_bytes == 0; };
  return is_page(walk.slice.begin) && is_page(walk.slice.end) && is_page(walk.next) &&
         walk.slice.end <= memory && walk.slice.begin <= walk.next && walk.next < walk.slice.end;
}

Result<Walk> load_walk(ferry::StateReader& in, std::uint64_t memory) {
  Walk walk;
  for (std::uint64_t* number : {&walk.slice.begin, &walk.slice.end, &walk.next, &walk.pass}) {
    *number = FERRY_TRY(in.u64());
  }
  if (!is_sane(walk, memory)) return in.refuse("a walk outside of memory");
  return walk;
}

}  // namespace

Result<void> ProcessGuest::load_state(ferry::StateReader& in) {
  bool loaded = false;
  while (const auto section = FERRY_TRY(in.next())) {
    if (section->name == k_walkers && section->version == 1) {
      if (FERRY_TRY(in.u32()) != walkers_.size()) {
        return in.refuse("give both sides the same --threads");
      }
      for (Walker& walker : walkers_) {
        walker.walk = FERRY_TRY(load_walk(in, ram_.bytes().size()));
        walker.errors = FERRY_TRY(in.u64());
      }
      loaded = true;
    } else if (section->name == Workers::k_section && section->version == 1) {
      FERRY_TRY(workers_.load(in));
    } else {
      return in.refuse("not known here");
    }
  }
  if (loaded) return {};
  return ferry::fail(Errc::guest, "the guest that comes has no walkers");
}

Result<Figures> ProcessGuest::figures() {
  Figures figures;
  workers_.add_to(figures);
  for (const Walker& walker : walkers_) {
    figures.errors += walker.errors + count_wrong(ram_, walker.walk);
  }
  return figures;
}

}  // namespace example
