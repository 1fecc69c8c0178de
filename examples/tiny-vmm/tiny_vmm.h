// A VMM whose guests can be migrated.
#pragma once

#include <ferry/dirty_trackers.h>

#include <memory>
#include <string>
#include <vector>

#include "common/guest.h"
#include "common/options.h"
#include "tiny-vmm/kvm_machine.h"

namespace example {

/// A machine with vCPUs that walk its memory (guest_program.h), and one device: it answers each
/// heartbeat by writing its number to guest memory.
class TinyVmm final : public Guest {
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
  TinyVmm(const Options& options, Ram ram, KvmMachine machine, ferry::GuestMemory memory);
  ferry::Result<void> make_tracker(const std::string& name);
  ferry::Result<void> make_vcpus(const Options& options);
  ferry::Result<void> run_to_heartbeat(unsigned vcpu);
  void answer_heartbeat(unsigned vcpu);

  const Fill fill_;
  const Pace pace_;  // of each vCPU
  Ram ram_;
  KvmMachine machine_;
  ferry::GuestMemory memory_;

  // Who writes to memory: vCPUs, which KVM watches, and our device, which tells of itself.
  std::unique_ptr<ferry::DirtyTracker> vcpu_writes_;
  ferry::KvmDirtyRing* ring_ = nullptr;  // vcpu_writes_, where it is one
  ferry::ToldTracker device_writes_;
  std::unique_ptr<ferry::DirtyTracker> tracker_;  // both

  std::vector<Vcpu> vcpus_;
  Workers workers_;  // one for each vCPU; last: their threads use the others
};

}  // namespace example
