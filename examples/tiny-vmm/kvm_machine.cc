#include "tiny-vmm/kvm_machine.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "tiny-vmm/long_mode.h"

namespace example {

ferry::Result<KvmMachine> KvmMachine::create(std::span<std::byte> memory) {
  ferry::UniqueFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm) {
    return ferry::fail_sys(ferry::Errc::unsupported, errno, "open /dev/kvm",
                           "process-guest shows the same without KVM");
  }
  ferry::UniqueFd vm(::ioctl(kvm.get(), KVM_CREATE_VM, 0));
  if (!vm) return kvm_failed("make a virtual machine");
  write_page_tables(memory);
  kvm_userspace_memory_region slot{};
  slot.memory_size = memory.size();
  slot.userspace_addr = reinterpret_cast<std::uintptr_t>(memory.data());
  if (::ioctl(vm.get(), KVM_SET_USER_MEMORY_REGION, &slot) != 0) {
    return kvm_failed("give a virtual machine its memory");
  }
  return KvmMachine(std::move(kvm), std::move(vm), memory.size());
}

std::vector<ferry::KvmSlot> KvmMachine::slots() const {
  return {{.slot = 0, .guest_address = 0, .memory = {.region = 0, .length = bytes_}}};
}

ferry::Result<Vcpu> KvmMachine::add_vcpu(unsigned index) const {
  return Vcpu::create(kvm_.get(), vm_.get(), index);
}

}  // namespace example
