// A virtual machine that does nothing but write to the pages that it is told.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "common/ram.h"
#include "tests/dirty/tracked_memory.h"
#include "tiny-vmm/kvm_machine.h"

namespace ferry::test {

/// Guest memory from k_data on is two regions, each a slot; what lies before it, where page tables
/// and program are, belongs to neither. Its one vCPU is the writer.
class VcpuMemory final : public TrackedMemory {
 public:
  enum class Tracking { log, ring, ring_after_log, own_mappings };
  static constexpr std::uint64_t k_pages = 2040;  ///< of each region; a log ends within a word
  static constexpr std::uint32_t k_ring_entries = 1024;  ///< few, so that rings are overrun

  static Result<std::unique_ptr<VcpuMemory>> make(Tracking tracking);

  const GuestMemory& memory() const override { return memory_; }
  DirtyTracker& tracker() override { return *tracker_; }
  void write(const std::vector<Unit>& units, std::uint64_t value) override;

  int vm() const noexcept { return machine_.fd(); }
  std::span<const KvmSlot> slots() const noexcept { return slots_; }
  /// How often the vCPU stopped because its ring was full.
  unsigned full_rings() const noexcept { return full_rings_; }

 private:
  VcpuMemory(example::Ram ram, example::KvmMachine machine)
      : ram_(std::move(ram)), machine_(std::move(machine)) {}
  Result<void> set_slots();
  Result<void> make_tracker(Tracking tracking);

  example::Ram ram_;
  example::KvmMachine machine_;
  GuestMemory memory_;
  std::vector<KvmSlot> slots_;
  std::unique_ptr<DirtyTracker> tracker_;
  KvmDirtyRing* ring_ = nullptr;  // tracker_, where it is one
  std::unique_ptr<example::Vcpu> vcpu_;
  unsigned full_rings_ = 0;  // the writer's
};

}  // namespace ferry::test
