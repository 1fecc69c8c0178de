#include "tiny-vmm/kvm_machine.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

#include "tiny-vmm/long_mode.h"

namespace example {
namespace {

// Not all memory in one: a dirty ring begins to watch slot by slot, each shortly before it is sent.
constexpr std::uint64_t k_slot_bytes = std::uint64_t{64} << 20;

}  // namespace

ferry::Result<KvmMachine> KvmMachine::create(std::span<std::byte> memory) {
  ferry::UniqueFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm) {
    return ferry::fail_sys(ferry::Errc::unsupported, errno, "open /dev/kvm",
                           "process-guest shows the same without KVM");
  }
  ferry::UniqueFd vm(::ioctl(kvm.get(), KVM_CREATE_VM, 0));
  if (!vm) return kvm_failed("make a virtual machine");
  write_page_tables(memory);
  KvmMachine machine(std::move(kvm), std::move(vm), memory.size());
  for (const ferry::KvmSlot& part : machine.slots()) {
    kvm_userspace_memory_region slot{};
    slot.slot = part.slot;
    slot.guest_phys_addr = part.guest_address;
    slot.memory_size = part.memory.length;
    slot.userspace_addr = reinterpret_cast<std::uintptr_t>(memory.data() + part.memory.offset);
    if (::ioctl(machine.fd(), KVM_SET_USER_MEMORY_REGION, &slot) != 0) {
      return kvm_failed("give a virtual machine its memory");
    }
  }
  return machine;
}

std::vector<ferry::KvmSlot> KvmMachine::slots() const {
  std::vector<ferry::KvmSlot> slots;
  for (std::uint64_t at = 0; at < bytes_; at += k_slot_bytes) {
    slots.push_back({.slot = static_cast<std::uint32_t>(slots.size()),
                     .guest_address = at,
                     .memory = {.region = 0,
                                .offset = at,
                                .length = std::min<std::uint64_t>(bytes_ - at, k_slot_bytes)}});
  }
  return slots;
}

ferry::Result<Vcpu> KvmMachine::add_vcpu(unsigned index) const {
  return Vcpu::create(kvm_.get(), vm_.get(), index);
}

}  // namespace example
