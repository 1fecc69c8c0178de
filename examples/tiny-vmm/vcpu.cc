#include "tiny-vmm/vcpu.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "tiny-vmm/kvm_abi.h"
#include "tiny-vmm/long_mode.h"

namespace example {
namespace {

using ferry::Result;

/// What a processor has in model-specific registers: its time, and where a kernel would be entered.
constexpr std::array<std::uint32_t, 10> k_msrs = {
    0x10,        // TSC
    0x174,       // SYSENTER_CS
    0x175,       // SYSENTER_ESP
    0x176,       // SYSENTER_EIP
    0x277,       // PAT
    0xc0000081,  // STAR
    0xc0000082,  // LSTAR
    0xc0000083,  // CSTAR
    0xc0000084,  // FMASK
    0xc0000102,  // KERNEL_GS_BASE
};

using Msrs = CountedEntries<kvm_msr_entry, k_msrs.size()>;

/// All that KVM knows of a vCPU like ours: one that has no local APIC.
struct State {
  kvm_sregs sregs{};
  kvm_regs regs{};
  kvm_fpu fpu{};
  kvm_xcrs xcrs{};
  Xsave xsave{};
  kvm_vcpu_events events{};
  Msrs msrs{};
};

struct Part {
  const char* name;
  unsigned long get;
  unsigned long set;
  std::size_t offset;
};

/// In the order in which KVM wants them: what xsave holds depends on sregs (CR4) and xcrs.
constexpr std::array<Part, 6> k_parts = {{
    {"sregs", KVM_GET_SREGS, KVM_SET_SREGS, offsetof(State, sregs)},
    {"regs", KVM_GET_REGS, KVM_SET_REGS, offsetof(State, regs)},
    {"fpu", KVM_GET_FPU, KVM_SET_FPU, offsetof(State, fpu)},
    {"xcrs", KVM_GET_XCRS, KVM_SET_XCRS, offsetof(State, xcrs)},
    {"xsave", k_get_xsave, k_set_xsave, offsetof(State, xsave)},
    {"events", KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, offsetof(State, events)},
}};

void* part_of(State& state, const Part& part) {
  return reinterpret_cast<std::byte*>(&state) + part.offset;
}

Result<void> get(int vcpu, State& state) {
  for (const Part& part : k_parts) {
    if (::ioctl(vcpu, part.get, part_of(state, part)) != 0) {
      return kvm_failed(std::string("read a vCPU's ") + part.name);
    }
  }
  for (std::size_t i = 0; i < k_msrs.size(); ++i) state.msrs.entries[i].index = k_msrs[i];
  // Both answer how many they got through.
  if (::ioctl(vcpu, k_get_msrs, &state.msrs) != k_msrs.size()) {
    return kvm_failed("read a vCPU's model-specific registers");
  }
  return {};
}

Result<void> set(int vcpu, State& state) {
  for (const Part& part : k_parts) {
    if (::ioctl(vcpu, part.set, part_of(state, part)) != 0) {
      return kvm_failed(std::string("set a vCPU's ") + part.name);
    }
  }
  // The peer's word, like all state: KVM reads as many entries as this says.
  state.msrs.header = {k_msrs.size(), 0};
  if (::ioctl(vcpu, k_set_msrs, &state.msrs) != k_msrs.size()) {
    return kvm_failed("set a vCPU's model-specific registers");
  }
  return {};
}

Result<void> give_features(int kvm, int vcpu) {
  CountedEntries<kvm_cpuid_entry2, 256> cpuid;
  if (::ioctl(kvm, k_get_supported_cpuid, &cpuid) == 0 && ::ioctl(vcpu, k_set_cpuid, &cpuid) == 0) {
    return {};
  }
  return kvm_failed("give a vCPU its features");
}

}  // namespace

std::unexpected<ferry::Error> kvm_failed(std::string act) {
  return ferry::fail_sys(ferry::Errc::guest, errno, std::move(act));
}

Result<Vcpu> Vcpu::create(int kvm, int vm, unsigned index) {
  ferry::UniqueFd fd(::ioctl(vm, KVM_CREATE_VCPU, index));
  if (!fd) return kvm_failed("make vCPU " + std::to_string(index));
  const int bytes = ::ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (bytes < 0) return kvm_failed("ask for the size of kvm_run");
  const auto length = static_cast<std::size_t>(bytes);
  void* const run = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (run == MAP_FAILED) return kvm_failed("map kvm_run");
  Vcpu vcpu(std::move(fd), static_cast<kvm_run*>(run), length);
  FERRY_TRY(give_features(kvm, vcpu.fd()));
  return vcpu;
}

Vcpu::Vcpu(Vcpu&& other) noexcept
    : fd_(std::move(other.fd_)),
      run_(std::exchange(other.run_, nullptr)),
      run_bytes_(other.run_bytes_) {}

Vcpu::~Vcpu() {
  if (run_ != nullptr) ::munmap(run_, run_bytes_);
}

Result<void> Vcpu::reset(const kvm_regs& registers) {
  kvm_sregs sregs{};
  if (::ioctl(fd(), KVM_GET_SREGS, &sregs) != 0) return kvm_failed("read a vCPU's sregs");
  sregs = in_user_mode(sregs);
  if (::ioctl(fd(), KVM_SET_SREGS, &sregs) != 0) return kvm_failed("set a vCPU's sregs");
  if (::ioctl(fd(), KVM_SET_REGS, &registers) != 0) return kvm_failed("set a vCPU's regs");
  return {};
}

Result<kvm_regs> Vcpu::registers() const {
  kvm_regs registers{};
  if (::ioctl(fd(), KVM_GET_REGS, &registers) != 0) return kvm_failed("read a vCPU's regs");
  return registers;
}

Result<const kvm_run*> Vcpu::enter() {
  while (::ioctl(fd(), KVM_RUN, 0) != 0) {
    if (errno != EINTR) return kvm_failed("run a vCPU");
  }
  return run_;
}

Result<void> Vcpu::complete_exit() {
  run_->immediate_exit = 1;
  const bool ran_on = ::ioctl(fd(), KVM_RUN, 0) == 0 || errno != EINTR;
  run_->immediate_exit = 0;
  if (ran_on) return kvm_failed("complete a vCPU's exit");
  return {};
}

Result<void> Vcpu::save(ferry::StateWriter& out, const std::string& section) const {
  State state;
  FERRY_TRY(get(fd(), state));
  out.section(section, 1).plain(state);
  return {};
}

Result<void> Vcpu::load(ferry::StateReader& in) {
  State state = FERRY_TRY(in.plain<State>());
  return set(fd(), state);
}

}  // namespace example
