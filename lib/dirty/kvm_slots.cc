#include "dirty/kvm_slots.h"

#include <fmt/format.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

namespace ferry {

PageRun MappedSlot::run(std::uint64_t first, std::uint64_t count) const noexcept {
  return {kvm.memory.region, kvm.memory.offset + first * k_unit_bytes, count * k_unit_bytes};
}

MappedSlot::Pages MappedSlot::pages_of(const PageRun& run) const noexcept {
  const PageRun& ours = kvm.memory;
  const std::uint64_t begin = std::max(run.offset, ours.offset);
  const std::uint64_t end = std::min(run.offset + run.length, ours.offset + ours.length);
  if (run.region != ours.region || begin >= end) return {};
  return {(begin - ours.offset) / k_unit_bytes, units_in(end - ours.offset)};
}

Result<std::vector<MappedSlot>> map_slots(const GuestMemory& memory,
                                          std::span<const KvmSlot> slots) {
  std::vector<MappedSlot> mapped;
  for (const KvmSlot& slot : slots) {
    const auto place = memory.at(slot.memory);
    if (!place || slot.memory.length == 0 || slot.memory.length % k_unit_bytes != 0) {
      return fail(Errc::usage,
                  fmt::format("KVM slot {}: {}", slot.slot,
                              place ? "it is not of whole pages" : place.error().context));
    }
    mapped.push_back({slot, place->data()});
  }
  return mapped;
}

Result<void> set_logging(int vm, std::span<const MappedSlot> slots, Logging logging) {
  for (const MappedSlot& slot : slots) {
    kvm_userspace_memory_region region{};
    region.slot = slot.kvm.slot;
    region.flags = slot.kvm.flags;
    if (logging == Logging::on) region.flags |= KVM_MEM_LOG_DIRTY_PAGES;
    region.guest_phys_addr = slot.kvm.guest_address;
    region.memory_size = slot.kvm.memory.length;
    region.userspace_addr = reinterpret_cast<std::uintptr_t>(slot.host);
    if (::ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) != 0) {
      return fail_sys(Errc::system, errno,
                      fmt::format("have KVM log writes to slot {}", slot.kvm.slot));
    }
  }
  return {};
}

}  // namespace ferry
