// KvmDirtyRing: a ring of dirty pages for each vCPU, shared with the kernel.
#include <fmt/format.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <utility>

#include "dirty/kvm_slots.h"
#include "ferry/dirty_trackers.h"

namespace ferry {
namespace {

constexpr std::uint32_t k_fewest_entries = 1024;  // KVM keeps several hundred for itself
constexpr std::uint32_t k_most_entries = 65536;

/// The capability that orders accesses as this code does. KVM calls it so where processors reorder
/// them; x86 before Linux 6.1 has the other name only, and needs no order.
int ring_capability(int vm) {
  for (const int capability : {KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_DIRTY_LOG_RING}) {
    if (::ioctl(vm, KVM_CHECK_EXTENSION, capability) > 0) return capability;
  }
  return 0;
}

/// Has KVM protect all pages of a slot that it begins to watch. Who has tracked by the log, or
/// means to, may have asked for the opposite, and rings would then list nothing.
Result<void> protect_at_once(int vm) {
  kvm_enable_cap manual{};
  manual.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2;
  if (::ioctl(vm, KVM_ENABLE_CAP, &manual) == 0) return {};
  return fail_sys(Errc::system, errno, "have KVM protect pages when it begins to watch them");
}

}  // namespace

struct KvmDirtyRing::Slots {
  explicit Slots(std::vector<MappedSlot> mapped) : all(std::move(mapped)), watched(all.size()) {
    std::ranges::sort(all, {}, number);
  }
  static std::uint32_t number(const MappedSlot& slot) noexcept { return slot.kvm.slot; }

  std::vector<MappedSlot> all;  // by their numbers: every entry of a ring asks for one
  std::vector<bool> watched;    // of each; used by the thread in send() alone

  /// Where page `page` of slot `slot` is, as the ring tells it; nothing for a slot that is not
  /// ours, or an offset beyond it.
  const MappedSlot* find(std::uint32_t slot, std::uint64_t page) const noexcept {
    const auto found = std::ranges::lower_bound(all, slot, {}, number);
    const bool ours = found != all.end() && number(*found) == slot;
    return ours && page < found->pages() ? &*found : nullptr;
  }
};

/// One vCPU's ring, mapped.
class KvmDirtyRing::Ring {
 public:
  static Result<Ring> map(int vcpu, std::uint32_t entries) {
    const std::size_t bytes = entries * sizeof(kvm_dirty_gfn);
    const long page = ::sysconf(_SC_PAGESIZE);
    void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu,
                            KVM_DIRTY_LOG_PAGE_OFFSET * page);
    if (at == MAP_FAILED) return fail_sys(Errc::system, errno, "map a vCPU's dirty ring");
    return Ring({static_cast<kvm_dirty_gfn*>(at), entries});
  }
  Ring(Ring&& other) noexcept : entries_(std::exchange(other.entries_, {})), next_(other.next_) {}
  Ring& operator=(Ring&&) = delete;
  ~Ring() {
    if (!entries_.empty()) ::munmap(entries_.data(), entries_.size_bytes());
  }

  /// Hands every page listed to `page`, and gives its entry back. How many there were.
  template <class Page>
  std::uint32_t drain(Page page) {
    std::uint32_t count = 0;
    for (; count < entries_.size(); ++count) {
      kvm_dirty_gfn& entry = entries_[next_ % entries_.size()];
      const std::atomic_ref flags(entry.flags);
      // Pairs with the kernel's release: slot and offset are there once the flag is.
      if ((flags.load(std::memory_order_acquire) & KVM_DIRTY_GFN_F_MASK) != KVM_DIRTY_GFN_F_DIRTY) {
        break;
      }
      page(entry.slot, entry.offset);
      // Pairs with the kernel's acquire in KVM_RESET_DIRTY_RINGS: we are done with the entry.
      flags.store(KVM_DIRTY_GFN_F_RESET, std::memory_order_release);
      ++next_;
    }
    return count;
  }

 private:
  explicit Ring(std::span<kvm_dirty_gfn> entries) : entries_(entries) {}
  std::span<kvm_dirty_gfn> entries_;
  std::uint32_t next_ = 0;  // wraps: the number of entries is a power of two
};

KvmDirtyRing::KvmDirtyRing(int vm, std::unique_ptr<Slots> slots, const Layout& layout,
                           std::uint32_t entries)
    : vm_(vm), entries_(entries), slots_(std::move(slots)), taken_(layout) {}

KvmDirtyRing::~KvmDirtyRing() = default;

Result<std::unique_ptr<KvmDirtyRing>> KvmDirtyRing::create(int vm, const GuestMemory& memory,
                                                           std::span<const KvmSlot> slots,
                                                           std::uint32_t entries) {
  if (!std::has_single_bit(entries) || entries < k_fewest_entries || entries > k_most_entries) {
    return fail(Errc::usage, fmt::format("a dirty ring of {} entries", entries),
                "a power of two from 1024 to 65536");
  }
  auto ours = std::make_unique<Slots>(FERRY_TRY(map_slots(memory, slots)));
  kvm_enable_cap ring{};
  ring.cap = static_cast<std::uint32_t>(ring_capability(vm));
  ring.args[0] = entries * sizeof(kvm_dirty_gfn);
  if (ring.cap == 0) {
    return fail(Errc::unsupported, "track writes by KVM's dirty ring: this KVM has none",
                "it takes Linux 5.11 or later; track_kvm_log() is there before");
  }
  if (::ioctl(vm, KVM_ENABLE_CAP, &ring) != 0) {
    const int why = errno;
    return fail_sys(Errc::system, why, fmt::format("give vCPUs dirty rings of {} entries", entries),
                    why == EINVAL ? "has the machine a vCPU already?" : "");
  }
  FERRY_TRY(protect_at_once(vm));
  return std::unique_ptr<KvmDirtyRing>(
      new KvmDirtyRing(vm, std::move(ours), memory.layout(), entries));
}

Result<void> KvmDirtyRing::add_vcpu(int vcpu) {
  Ring ring = FERRY_TRY(Ring::map(vcpu, entries_));
  const std::lock_guard lock(mutex_);
  rings_.push_back(std::move(ring));
  return {};
}

Result<void> KvmDirtyRing::start() {
  FERRY_TRY(begin());
  for (std::size_t slot = 0; slot < slots_->all.size(); ++slot) FERRY_TRY(watch_slot(slot));
  return {};
}

Result<void> KvmDirtyRing::begin() {
  FERRY_TRY(protect_at_once(vm_));
  const std::lock_guard lock(mutex_);
  FERRY_TRY(drain());  // what was left of the time before a stop()
  taken_.clear_all();
  overrun_ = false;
  slots_->watched.assign(slots_->all.size(), false);
  return {};
}

/// KVM watches whole slots, or nothing of them.
Result<void> KvmDirtyRing::watch(const PageRun& run) {
  for (std::size_t slot = 0; slot < slots_->all.size(); ++slot) {
    const MappedSlot::Pages pages = slots_->all[slot].pages_of(run);
    if (pages.first < pages.end && !slots_->watched[slot]) FERRY_TRY(watch_slot(slot));
  }
  return {};
}

Result<void> KvmDirtyRing::watch_slot(std::size_t slot) {
  FERRY_TRY(set_logging(vm_, {&slots_->all[slot], 1}, Logging::on));
  slots_->watched[slot] = true;
  return {};
}

Result<void> KvmDirtyRing::empty() {
  const std::lock_guard lock(mutex_);
  return drain();
}

Result<void> KvmDirtyRing::harvest(DirtyBitmap& into) {
  const std::lock_guard lock(mutex_);
  FERRY_TRY(drain());
  if (overrun_) {
    return fail(Errc::guest, "a vCPU's dirty ring was overrun: writes are lost",
                "make the rings longer, or track by the dirty log");
  }
  into.merge(taken_);
  taken_.clear_all();
  for (std::size_t slot = 0; slot < slots_->all.size(); ++slot) {
    if (slots_->watched[slot]) continue;
    FERRY_TRY(watch_slot(slot));
    into.mark(slots_->all[slot].kvm.memory);
  }
  return {};
}

void KvmDirtyRing::stop() noexcept {
  static_cast<void>(set_logging(vm_, slots_->all, Logging::off));
}

/// Takes what the rings list, and has KVM protect those pages again. mutex_ is held: KVM wants one
/// at a time.
Result<void> KvmDirtyRing::drain() {
  std::uint32_t drained = 0;
  for (Ring& ring : rings_) {
    const std::uint32_t count = ring.drain([this](std::uint32_t slot, std::uint64_t page) {
      if (const MappedSlot* ours = slots_->find(slot, page)) taken_.mark(ours->run(page, 1));
    });
    // KVM stops a vCPU some entries before its ring is full. One that is full to the last entry was
    // written past that, and nobody can tell how far.
    overrun_ = overrun_ || count >= entries_;
    drained += count;
  }
  if (drained == 0) return {};
  if (::ioctl(vm_, KVM_RESET_DIRTY_RINGS) < 0) {
    return fail_sys(Errc::system, errno, "have KVM watch the pages of its dirty rings again");
  }
  return {};
}

}  // namespace ferry
