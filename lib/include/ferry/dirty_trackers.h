// The dirty trackers that Ferry brings: which pages of a running guest were written, by whom.
//
// A tracker sees the writes of one kind of writer. vCPUs are seen by KVM (its dirty log, or its
// dirty ring); what the VMM's own threads write, device back ends for instance, is seen by
// track_own_mappings(), or told to a ToldTracker by those who write. merge_trackers() makes one
// tracker of several. What no tracker sees is lost: Verify::full finds it out, and nothing else
// does.
//
// All of them are used by one thread at a time, the one in send(), but for what says Thread-safe.
// They borrow the guest's memory and KVM's descriptors, which outlive them.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "ferry/memory.h"
#include "ferry/result.h"

namespace [[gnu::visibility("default")]] ferry {

/// Watches this process's own mappings of guest memory, by userfaultfd write protection and
/// PAGEMAP_SCAN (Linux 6.7 or later): its threads, system calls that read into the memory, and
/// vCPUs that run on these mappings. Not what reaches the memory by another mapping, by another
/// process, or by a write(2) to its descriptor. Exact, to the page (a huge page of hugetlbfs is one
/// page). Needs no privilege. The mappings must stay as they are until stop().
///
/// Errc::usage where a region has no mapping, or one that begins within a page; Errc::unsupported,
/// naming the remedy, where this kernel has not the means, or a sandbox withholds them.
Result<std::unique_ptr<DirtyTracker>> track_own_mappings(const GuestMemory& memory);

/// Guest memory as a KVM virtual machine knows it: what KVM_SET_USER_MEMORY_REGION was given.
struct KvmSlot {
  std::uint32_t slot = 0;           ///< with the number of its address space in the high 16 bits
  std::uint32_t flags = 0;          ///< KVM_MEM_READONLY or none
  std::uint64_t guest_address = 0;  ///< in bytes
  PageRun memory;                   ///< which part of which region; whole pages
};

/// Watches the vCPUs of a virtual machine by KVM's dirty log (Linux 5.1 or later), a bitmap for
/// each slot. It costs a look at every page's bit each harvest, and says nothing to a vCPU. Exact.
///
/// `vm` is the machine's descriptor; the slots are those that it has, and stay so until stop().
/// The machine is left with KVM's manual protection of the log for good, from Linux 5.8 on with
/// KVM_DIRTY_LOG_INITIALLY_SET: a VMM that reads the log for itself has to clear it by hand, and
/// finds all of it dirty at first. Errc::usage for slots that do not fit `memory`;
/// Errc::unsupported where KVM has no manual protection, or the machine has dirty rings.
Result<std::unique_ptr<DirtyTracker>> track_kvm_log(int vm, const GuestMemory& memory,
                                                    std::span<const KvmSlot> slots);

/// Watches vCPUs by KVM's dirty ring (Linux 5.11 or later): each vCPU lists the pages that it
/// writes, in a ring of its own, and leaves KVM_RUN when that is full. A harvest costs what was
/// written, whatever the size of the guest; a guest that writes much is slowed down by its exits.
/// Exact.
///
/// The order matters: create() before the machine has a vCPU; add_vcpu() for each one before it
/// runs; then, for every KVM_EXIT_DIRTY_RING_FULL, empty().
class KvmDirtyRing final : public DirtyTracker, private GradualTracking {
 public:
  static constexpr std::uint32_t k_default_entries = 4096;

  /// `entries` is each ring's length, a power of two from 1024 to 65536. Errc::unsupported where
  /// KVM has no dirty ring; Errc::usage for slots that do not fit `memory`. Manual protection of
  /// the log is switched off, here and at each start: rings cannot have it.
  static Result<std::unique_ptr<KvmDirtyRing>> create(int vm, const GuestMemory& memory,
                                                      std::span<const KvmSlot> slots,
                                                      std::uint32_t entries = k_default_entries);
  ~KvmDirtyRing() override;

  /// `vcpu` is the vCPU's descriptor, and outlives the tracker. Not between start() and stop().
  Result<void> add_vcpu(int vcpu);

  /// Takes what all rings hold, so that no vCPU waits for the next harvest: the answer to
  /// KVM_EXIT_DIRTY_RING_FULL, after which the vCPU goes on by KVM_RUN. Thread-safe; called by the
  /// vCPU's own thread. Does not wait for a harvest, but for one that is going on.
  Result<void> empty();

  Result<void> start() override;
  /// Of a vCPU that runs, what its processor has not listed yet is in the next harvest; of one that
  /// has left KVM_RUN everything is listed. Errc::guest when a ring was overrun: writes are lost.
  Result<void> harvest(DirtyBitmap& into) override;
  void stop() noexcept override;
  /// Slot by slot: it gains most where memory is several of them.
  GradualTracking* gradual() noexcept override { return this; }

 private:
  class Ring;
  struct Slots;
  Result<void> begin() override;
  Result<void> watch(const PageRun& run) override;
  Result<void> watch_slot(std::size_t slot);
  KvmDirtyRing(int vm, std::unique_ptr<Slots> slots, const Layout& layout, std::uint32_t entries);
  Result<void> drain();

  const int vm_;
  const std::uint32_t entries_;
  const std::unique_ptr<Slots> slots_;
  std::mutex mutex_;  // guards what follows: vCPUs empty their rings while send() harvests
  std::vector<Ring> rings_;
  DirtyBitmap taken_;  // out of the rings, and not harvested yet
  bool overrun_ = false;
};

/// Learns of writes by being told: for device back ends that know what they write, and for tests.
class ToldTracker final : public DirtyTracker {
 public:
  explicit ToldTracker(const Layout& layout);

  /// The run was written. To be said after the write, never before: a page that is sent between the
  /// two would be taken for clean. And before pause() returns, where the guest is paused. The run
  /// must have passed GuestMemory::check. Thread-safe.
  void wrote(const PageRun& run);

  Result<void> start() override;
  Result<void> harvest(DirtyBitmap& into) override;
  void stop() noexcept override;

 private:
  std::mutex mutex_;  // guards what follows, and orders the bytes before the word of them
  DirtyBitmap written_;
  bool started_ = false;
};

/// One tracker of several, over the same memory: a page is dirty when one of them says so. All are
/// started, or none. It borrows them.
std::unique_ptr<DirtyTracker> merge_trackers(std::vector<DirtyTracker*> trackers);

}  // namespace ferry
