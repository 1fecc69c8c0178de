// What both examples make of a guest, beside what Ferry asks of it.
#pragma once

#include <ferry/guest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/ram.h"
#include "common/worker.h"

namespace example {

/// What a guest says of itself.
struct Figures {
  std::uint64_t errors = 0;      ///< pages that were not as they should be, when they were walked
  std::uint64_t heartbeats = 0;  ///< of all workers, here and where the guest was before
  std::chrono::nanoseconds longest_gap{};  ///< between two heartbeats of one worker, everywhere
};

/// All workers of a guest at once.
class Workers {
 public:
  void add(std::unique_ptr<Worker> worker) { workers_.push_back(std::move(worker)); }
  Worker& operator[](std::size_t index) noexcept { return *workers_[index]; }

  void resume();
  /// The first failure of any, when all stand still.
  ferry::Result<void> pause();
  void throttle(unsigned percent);

  /// The heartbeats so far, as a section of device state: the gap between the last one here and
  /// the first one there is what the guest sees of the switch. Only while paused.
  void save(ferry::StateWriter& out) const;
  ferry::Result<void> load(ferry::StateReader& in);
  static constexpr std::string_view k_section = "heartbeats";
  void add_to(Figures& figures) const;  ///< likewise

 private:
  std::vector<std::unique_ptr<Worker>> workers_;
};

/// A guest that can leave and arrive, and be booted here. What Ferry asks of it and what is the
/// same for every guest of workers is done here; memory(), dirty_tracker(), pause() and the state
/// are each one's own.
class Guest : public ferry::SourceGuest, public ferry::DestinationGuest {
 public:
  virtual ferry::Result<void> boot() = 0;
  /// Only while it is paused. Walks all memory once, from outside, for what the guest itself would
  /// find in its next pass.
  virtual ferry::Result<Figures> figures() = 0;
  virtual Workers& workers() = 0;

  ferry::Result<void> resume() override;
  /// The memory that it has, where that is what comes.
  ferry::Result<ferry::GuestMemory> map_memory(const ferry::Layout& wanted) override;
  ferry::Result<void> prepare() override { return {}; }
  ferry::Result<void> start(const ferry::OwnerToken&) override { return resume(); }
};

}  // namespace example
