#include "tests/dirty/vcpu_memory.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "tiny-vmm/long_mode.h"

extern "C" const std::byte ferry_writer_begin[], ferry_writer_end[];

// rsi: a list of addresses, rcx: how many, rax: what to write there.
asm(R"(
        .intel_syntax noprefix
        .pushsection .rodata
        .globl  ferry_writer_begin, ferry_writer_end
ferry_writer_begin:
.Lnext: mov     rbx, [rsi]
        mov     [rbx], rax
        add     rsi, 8
        dec     rcx
        jnz     .Lnext
        out     dx, eax
ferry_writer_end:
        .popsection
        .att_syntax prefix
)");

namespace ferry::test {
namespace {

constexpr std::uint64_t k_list = 0x50000;  // up to the page directories: room for 90112 addresses
constexpr std::uint64_t k_region_bytes = VcpuMemory::k_pages * k_unit_bytes;

std::uint64_t guest_address(const KvmSlot& slot, Unit unit) {
  return slot.guest_address + unit.index * k_unit_bytes;
}

Result<void> set_slot(int vm, std::uint32_t slot, std::uint64_t address,
                      std::span<std::byte> memory) {
  kvm_userspace_memory_region region{};
  region.slot = slot;
  region.guest_phys_addr = address;
  region.memory_size = memory.size();
  region.userspace_addr = reinterpret_cast<std::uintptr_t>(memory.data());
  if (::ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == 0) return {};
  return example::kvm_failed("set slot " + std::to_string(slot));
}

}  // namespace

Result<std::unique_ptr<VcpuMemory>> VcpuMemory::make(Tracking tracking) {
  auto ram = FERRY_TRY(example::Ram::create(example::k_data + 2 * k_region_bytes));
  auto machine = FERRY_TRY(example::KvmMachine::create(ram.bytes()));
  std::unique_ptr<VcpuMemory> made(new VcpuMemory(std::move(ram), std::move(machine)));
  FERRY_TRY(made->set_slots());
  FERRY_TRY(made->make_tracker(tracking));
  made->vcpu_ = std::make_unique<example::Vcpu>(FERRY_TRY(made->machine_.add_vcpu(0)));
  if (made->ring_ != nullptr) FERRY_TRY(made->ring_->add_vcpu(made->vcpu_->fd()));
  std::memcpy(made->ram_.bytes().data() + example::k_code, ferry_writer_begin,
              static_cast<std::size_t>(ferry_writer_end - ferry_writer_begin));
  return made;
}

/// Cuts the machine's one slot into three: ours, and one for each region, not in their order.
Result<void> VcpuMemory::set_slots() {
  const std::span<std::byte> all = ram_.bytes();
  FERRY_TRY(set_slot(vm(), 0, 0, all.first(0)));  // of no length: it goes
  FERRY_TRY(set_slot(vm(), 0, 0, all.first(example::k_data)));
  std::vector<MemoryRegion> regions;
  for (const RegionId id : {0u, 1u}) {
    const std::uint64_t address = example::k_data + id * k_region_bytes;
    const auto part = all.subspan(address, k_region_bytes);
    regions.push_back({.id = id,
                       .name = "ram" + std::to_string(id),
                       .guest_address = address,
                       .length = part.size(),
                       .host = part.data(),
                       .backing = Backing::shmem});
    const KvmSlot slot{.slot = 9 - id, .guest_address = address, .memory = {id, 0, part.size()}};
    FERRY_TRY(set_slot(vm(), slot.slot, address, part));
    slots_.push_back(slot);
  }
  memory_ = FERRY_TRY(GuestMemory::create(std::move(regions)));
  return {};
}

Result<void> VcpuMemory::make_tracker(Tracking tracking) {
  switch (tracking) {
    case Tracking::log:
      tracker_ = FERRY_TRY(track_kvm_log(vm(), memory_, slots_));
      return {};
    case Tracking::ring_after_log:
      FERRY_TRY(track_kvm_log(vm(), memory_, slots_));
      return make_tracker(Tracking::ring);
    case Tracking::ring: {
      auto ring = FERRY_TRY(KvmDirtyRing::create(vm(), memory_, slots_, k_ring_entries));
      ring_ = ring.get();
      tracker_ = std::move(ring);
      return {};
    }
    case Tracking::own_mappings:
      tracker_ = FERRY_TRY(track_own_mappings(memory_));
      return {};
  }
  return {};
}

void VcpuMemory::write(const std::vector<Unit>& units, std::uint64_t value) {
  if (units.empty()) return;
  std::ranges::transform(units, ram_.word(k_list),
                         [this](Unit unit) { return guest_address(slots_[unit.region], unit); });
  kvm_regs registers{};
  registers.rip = example::k_code;
  registers.rflags = example::k_user_flags;
  registers.rsi = k_list;
  registers.rcx = units.size();
  registers.rax = value;
  if (!vcpu_->reset(registers)) std::abort();
  while (true) {
    const auto exit = vcpu_->enter();
    if (exit && (*exit)->exit_reason == KVM_EXIT_IO) break;
    if (!exit || (*exit)->exit_reason != KVM_EXIT_DIRTY_RING_FULL || !ring_->empty()) std::abort();
    ++full_rings_;
  }
  if (!vcpu_->complete_exit()) std::abort();
}

namespace {

template <VcpuMemory::Tracking tracking>
Result<std::unique_ptr<TrackedMemory>> make_kind() {
  return VcpuMemory::make(tracking);
}

}  // namespace

std::vector<Kind> kinds_with_kvm() {
  return {{"KvmLog", make_kind<VcpuMemory::Tracking::log>},
          {"KvmRing", make_kind<VcpuMemory::Tracking::ring>},
          {"MappingsThatAVcpuWrites", make_kind<VcpuMemory::Tracking::own_mappings>}};
}

}  // namespace ferry::test
