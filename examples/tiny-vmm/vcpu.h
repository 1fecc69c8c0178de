// One vCPU of KVM.
#pragma once

#include <ferry/device_state.h>
#include <ferry/result.h>
#include <ferry/unique_fd.h>
#include <linux/kvm.h>

#include <cstdint>
#include <string>

namespace example {

/// Used by one thread at a time, which must not be in enter() for any other call.
class Vcpu {
 public:
  /// `kvm` is /dev/kvm, `vm` a virtual machine of it. The vCPU has the features that KVM supports
  /// here: to migrate it, both hosts must have the same.
  static ferry::Result<Vcpu> create(int kvm, int vm, unsigned index);
  Vcpu(Vcpu&& other) noexcept;
  Vcpu& operator=(Vcpu&&) = delete;
  ~Vcpu();

  int fd() const noexcept { return fd_.get(); }

  /// Puts it into user mode (long_mode.h) with these registers.
  ferry::Result<void> reset(const kvm_regs& registers);
  ferry::Result<kvm_regs> registers() const;

  /// Runs the guest until it needs the VMM: why is in the answer's exit_reason. Valid until the
  /// next call.
  ferry::Result<const kvm_run*> enter();
  /// Has the instruction that it left for done with, without running on. Before its state is read:
  /// an `out` that the VMM has seen would be done again elsewhere.
  ferry::Result<void> complete_exit();

  /// The state as one section. Loading needs a vCPU that has not run yet.
  ferry::Result<void> save(ferry::StateWriter& out, const std::string& section) const;
  ferry::Result<void> load(ferry::StateReader& in);

 private:
  Vcpu(ferry::UniqueFd fd, kvm_run* run, std::size_t run_bytes)
      : fd_(std::move(fd)), run_(run), run_bytes_(run_bytes) {}
  ferry::UniqueFd fd_;
  kvm_run* run_;  // shared with the kernel; null when moved from
  std::size_t run_bytes_;
};

/// "run a vCPU: device or resource busy", and the like.
std::unexpected<ferry::Error> kvm_failed(std::string act);

}  // namespace example
