// A guest that is a few threads of this process, for machines without KVM.
#pragma once

#include <ferry/dirty_trackers.h>

#include <memory>
#include <vector>

#include "common/guest.h"
#include "common/options.h"
#include "common/walk.h"

namespace example {

/// Threads walk memory; the kernel says which pages they wrote (track_own_mappings).
class ProcessGuest final : public Guest {
 public:
  static ferry::Result<std::unique_ptr<Guest>> create(const Options& options);

  ferry::Result<void> boot() override;
  ferry::Result<Figures> figures() override;
  Workers& workers() override { return workers_; }

  // The guest that leaves.
  const ferry::GuestMemory& memory() override { return memory_; }
  ferry::DirtyTracker& dirty_tracker() override { return *tracker_; }
  ferry::Result<void> pause() override;
  ferry::Result<void> save_state(ferry::StateWriter& out) override;

  // The guest that arrives.
  ferry::Result<void> load_state(ferry::StateReader& in) override;

 private:
  /// What would be a vCPU's registers.
  struct Walker {
    Walk walk;
    std::uint64_t errors = 0;
  };

  ProcessGuest(const Options& options, Ram ram, ferry::GuestMemory memory);

  const Fill fill_;
  const Pace pace_;  // of each thread
  Ram ram_;
  ferry::GuestMemory memory_;
  std::unique_ptr<ferry::DirtyTracker> tracker_;
  std::vector<Walker> walkers_;  // each one its worker's, while that runs
  Workers workers_;              // last: their threads use the others
};

}  // namespace example
