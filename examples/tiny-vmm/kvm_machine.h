// A virtual machine of KVM: memory, and vCPUs that go through it.
#pragma once

#include <ferry/dirty_trackers.h>
#include <ferry/result.h>
#include <ferry/unique_fd.h>

#include <cstddef>
#include <span>
#include <vector>

#include "tiny-vmm/vcpu.h"

namespace example {

class KvmMachine {
 public:
  /// Errc::unsupported where /dev/kvm cannot be used. `memory` is the guest's, from address 0 on;
  /// it is given page tables (long_mode.h), and outlives the machine.
  static ferry::Result<KvmMachine> create(std::span<std::byte> memory);

  int fd() const noexcept { return vm_.get(); }
  /// What it has of memory, for the trackers: all of region 0, in parts.
  std::vector<ferry::KvmSlot> slots() const;

  ferry::Result<Vcpu> add_vcpu(unsigned index) const;

 private:
  KvmMachine(ferry::UniqueFd kvm, ferry::UniqueFd vm, std::uint64_t bytes)
      : kvm_(std::move(kvm)), vm_(std::move(vm)), bytes_(bytes) {}
  ferry::UniqueFd kvm_;
  ferry::UniqueFd vm_;
  std::uint64_t bytes_;
};

}  // namespace example
