// track_kvm_log(): a bitmap for each slot, read and cleared in two steps ("manual protection").
#include <fmt/format.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "base/bit_words.h"
#include "dirty/kvm_slots.h"
#include "ferry/dirty_trackers.h"

namespace ferry {
namespace {

/// How many pages are cleared in one call, during which no vCPU can handle a fault: 128 MiB of
/// them, which takes about a millisecond. KVM wants a multiple of 64.
constexpr std::uint64_t k_pages_a_clear = 32 * 1024;

/// Calls apply(first, count) for every run of ones.
template <class Apply>
void for_each_run(std::span<const std::uint64_t> words, std::uint64_t bits, Apply apply) {
  std::uint64_t bit = 0;
  const auto skip = [&](std::uint64_t flip) {
    while (bit < bits) {
      const std::uint64_t rest = (words[bit / k_word_bits] ^ flip) >> (bit % k_word_bits);
      if (rest != 0) {
        bit += static_cast<unsigned>(std::countr_zero(rest));
        return;
      }
      bit = (bit / k_word_bits + 1) * k_word_bits;
    }
  };
  while (true) {
    skip(0);
    if (bit >= bits) return;
    const std::uint64_t first = bit;
    skip(~std::uint64_t{0});
    apply(first, std::min(bit, bits) - first);
  }
}

/// What pages the log begins with.
enum class Initially { clean, dirty };

class KvmLog final : public DirtyTracker, private GradualTracking {
 public:
  KvmLog(int vm, std::vector<MappedSlot> slots, Initially initially)
      : vm_(vm), slots_(std::move(slots)), initially_(initially) {}

  Result<void> start() override {
    FERRY_TRY(begin());
    if (initially_ == Initially::clean) return {};
    for (const MappedSlot& slot : slots_) FERRY_TRY(watch(slot, {0, slot.pages()}));
    return {};
  }

  Result<void> harvest(DirtyBitmap& into) override {
    for (const MappedSlot& slot : slots_) {
      words_.assign(words_for(slot.pages()), 0);
      FERRY_TRY(read(slot));
      // What is written between the two is told by the copy: it is read after the clearing.
      FERRY_TRY(clear(slot, {0, slot.pages()}));
      for_each_run(words_, slot.pages(), [&](std::uint64_t first, std::uint64_t count) {
        into.mark(slot.run(first, count));
      });
    }
    return {};
  }

  void stop() noexcept override {
    // A machine that goes on logging is slower, and no worse.
    static_cast<void>(set_logging(vm_, slots_, Logging::off));
  }

  GradualTracking* gradual() noexcept override {
    return initially_ == Initially::dirty ? this : nullptr;
  }

 private:
  Result<void> begin() override { return set_logging(vm_, slots_, Logging::on); }

  Result<void> watch(const PageRun& run) override {
    for (const MappedSlot& slot : slots_) {
      const MappedSlot::Pages pages = slot.pages_of(run);
      if (pages.first < pages.end) FERRY_TRY(watch(slot, pages));
    }
    return {};
  }

  /// Protects them for the first time. No others: what KVM knows of those must stay.
  Result<void> watch(const MappedSlot& slot, const MappedSlot::Pages& pages) {
    const MappedSlot::Pages whole{pages.first - pages.first % k_word_bits,
                                  std::min(words_for(pages.end) * k_word_bits, slot.pages())};
    words_.assign(words_for(whole.end - whole.first), 0);
    for (std::uint64_t page = pages.first; page < pages.end; ++page) {
      const std::uint64_t bit = page - whole.first;
      words_[bit / k_word_bits] |= std::uint64_t{1} << (bit % k_word_bits);
    }
    return clear(slot, whole);
  }

  Result<void> read(const MappedSlot& slot) {
    kvm_dirty_log log{};
    log.slot = slot.kvm.slot;
    log.dirty_bitmap = words_.data();
    if (::ioctl(vm_, KVM_GET_DIRTY_LOG, &log) == 0) return {};
    return fail_sys(Errc::system, errno,
                    fmt::format("read KVM's dirty log of slot {}", slot.kvm.slot));
  }

  /// Protects the pages again whose bits are set in words_, the first of which is that of
  /// pages.first, and clears KVM's own bits of them. KVM takes whole words only, or up to the
  /// slot's end.
  Result<void> clear(const MappedSlot& slot, const MappedSlot::Pages& pages) {
    for (std::uint64_t first = pages.first; first < pages.end; first += k_pages_a_clear) {
      const std::uint64_t count = std::min(pages.end - first, k_pages_a_clear);
      const auto words =
          std::span(words_).subspan((first - pages.first) / k_word_bits, words_for(count));
      if (std::ranges::none_of(words, [](std::uint64_t word) { return word != 0; })) continue;
      kvm_clear_dirty_log cleared{};
      cleared.slot = slot.kvm.slot;
      cleared.first_page = first;
      cleared.num_pages = static_cast<std::uint32_t>(count);
      cleared.dirty_bitmap = words.data();
      if (::ioctl(vm_, KVM_CLEAR_DIRTY_LOG, &cleared) == 0) continue;
      return fail_sys(Errc::system, errno,
                      fmt::format("clear KVM's dirty log of slot {}", slot.kvm.slot));
    }
    return {};
  }

  const int vm_;
  const std::vector<MappedSlot> slots_;
  const Initially initially_;
  std::vector<std::uint64_t> words_;  // of one slot at a time, or a part of it
};

/// A log is never read where there are rings, and what it asks of KVM would make them blind.
Result<void> check_for_rings(int vm) {
  // A slot that no machine has, since what a VMM logs of its own is cleared by such a question.
  // That there are rings is said before the slot is looked at.
  kvm_dirty_log log{};
  log.slot = 0xffff;
  if (::ioctl(vm, KVM_GET_DIRTY_LOG, &log) == 0 || errno != ENXIO) return {};
  return fail_sys(Errc::unsupported, errno, "track writes by KVM's dirty log",
                  "the machine has dirty rings: use them");
}

}  // namespace

Result<std::unique_ptr<DirtyTracker>> track_kvm_log(int vm, const GuestMemory& memory,
                                                    std::span<const KvmSlot> slots) {
  auto mapped = FERRY_TRY(map_slots(memory, slots));
  FERRY_TRY(check_for_rings(vm));
  kvm_enable_cap manual{};
  manual.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2;
  // Since Linux 5.8 pages can begin as dirty and unprotected, and each be protected in its time.
  const int abilities = ::ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
  const bool initially_set = abilities > 0 && (abilities & KVM_DIRTY_LOG_INITIALLY_SET) != 0;
  manual.args[0] = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
  if (initially_set) manual.args[0] |= KVM_DIRTY_LOG_INITIALLY_SET;
  if (::ioctl(vm, KVM_ENABLE_CAP, &manual) != 0) {
    return fail_sys(Errc::unsupported, errno, "have KVM protect its dirty log's pages by hand",
                    "it takes Linux 5.1 or later");
  }
  return std::make_unique<KvmLog>(vm, std::move(mapped),
                                  initially_set ? Initially::dirty : Initially::clean);
}

}  // namespace ferry
