// The slots of a KVM virtual machine, and how their writes are watched and marked.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ferry/dirty_trackers.h"

namespace ferry {

/// A slot whose place in this process is known.
struct MappedSlot {
  KvmSlot kvm;
  std::byte* host = nullptr;

  std::uint64_t pages() const noexcept { return kvm.memory.length / k_unit_bytes; }
  /// Pages of the slot, as a run of the region: both numbers count pages, and lie in the slot.
  PageRun run(std::uint64_t first, std::uint64_t count) const noexcept;

  /// The pages of the slot in which a run of memory lies, in part at least: [first, end), empty
  /// where it lies elsewhere.
  struct Pages {
    std::uint64_t first = 0;
    std::uint64_t end = 0;
  };
  Pages pages_of(const PageRun& run) const noexcept;
};

/// Errc::usage where a slot is no part of `memory`, or is of no whole pages.
Result<std::vector<MappedSlot>> map_slots(const GuestMemory& memory,
                                          std::span<const KvmSlot> slots);

/// Has KVM log writes to the slots, all pages of which it protects, or has it log no more. Where
/// KVM_DIRTY_LOG_INITIALLY_SET was asked for it protects none yet.
enum class Logging { off, on };
Result<void> set_logging(int vm, std::span<const MappedSlot> slots, Logging logging);

}  // namespace ferry
