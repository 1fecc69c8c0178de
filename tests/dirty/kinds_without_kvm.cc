#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <utility>

#include "ferry/unique_fd.h"
#include "tests/dirty/tracked_memory.h"

namespace ferry::test {
namespace {

constexpr std::uint64_t k_pages = 2048;  // of each region
/// The second region ends within a page.
constexpr std::uint64_t k_lengths[] = {k_pages * k_unit_bytes, k_pages* k_unit_bytes - 100};

std::uint64_t* word_of(const GuestMemory& memory, Unit unit) {
  std::byte* const host = memory.regions()[unit.region].host;
  return reinterpret_cast<std::uint64_t*>(host + unit.index * k_unit_bytes);
}

/// Two mappings, anonymous or of one memfd.
class Regions {
 public:
  explicit Regions(Backing backing) {
    if (backing == Backing::shmem) {
      fd_.reset(::memfd_create("ferry-test", MFD_CLOEXEC));
      if (::ftruncate(fd_.get(), 2 * k_pages * k_unit_bytes) != 0) std::abort();
    }
    std::vector<MemoryRegion> regions;
    for (const RegionId id : {0u, 1u}) {
      const std::uint64_t offset = id * k_pages * k_unit_bytes;
      void* const at = ::mmap(nullptr, k_pages * k_unit_bytes, PROT_READ | PROT_WRITE,
                              fd_ ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd_.get(),
                              fd_ ? static_cast<off_t>(offset) : 0);
      if (at == MAP_FAILED) std::abort();
      regions.push_back({.id = id,
                         .name = "ram" + std::to_string(id),
                         .length = k_lengths[id],
                         .host = static_cast<std::byte*>(at),
                         .backing = backing,
                         .fd = fd_.get(),
                         .fd_offset = offset});
    }
    memory_ = GuestMemory::create(std::move(regions)).value();
  }
  Regions(const Regions&) = delete;
  Regions& operator=(const Regions&) = delete;
  ~Regions() {
    for (const MemoryRegion& region : memory_.regions()) {
      ::munmap(region.host, k_pages * k_unit_bytes);
    }
  }
  const GuestMemory& memory() const { return memory_; }

 private:
  UniqueFd fd_;
  GuestMemory memory_;
};

void store(const GuestMemory& memory, Unit unit, std::uint64_t value) {
  std::atomic_ref(*word_of(memory, unit)).store(value, std::memory_order_relaxed);
}

/// As a system call of this process writes: read(2) into guest memory, for instance. By its number:
/// the thread sanitizer takes what the library's function writes for a plain store of ours, which
/// would race with whoever reads the page meanwhile. It is the kernel's.
void store_by_kernel(const GuestMemory& memory, Unit unit, std::uint64_t value) {
  const iovec from{&value, sizeof value};
  const iovec into{word_of(memory, unit), sizeof value};
  // Each argument as wide as the kernel reads it: the last one travels on the stack, where an int
  // is half of it.
  if (::syscall(SYS_process_vm_readv, ::getpid(), &into, 1ul, &from, 1ul, 0ul) != sizeof value) {
    std::abort();
  }
}

using Store = void (*)(const GuestMemory& memory, Unit unit, std::uint64_t value);

template <Backing backing, Store store_word>
class OwnMappings final : public TrackedMemory {
 public:
  static Result<std::unique_ptr<TrackedMemory>> make() {
    auto made = std::make_unique<OwnMappings>();
    made->tracker_ = FERRY_TRY(track_own_mappings(made->memory()));
    return made;
  }
  const GuestMemory& memory() const override { return regions_.memory(); }
  DirtyTracker& tracker() override { return *tracker_; }
  void write(const std::vector<Unit>& units, std::uint64_t value) override {
    for (const Unit unit : units) store_word(memory(), unit, value);
  }

 private:
  Regions regions_{backing};
  std::unique_ptr<DirtyTracker> tracker_;
};

PageRun run_of(const GuestMemory& memory, Unit unit) {
  const std::uint64_t offset = unit.index * k_unit_bytes;
  const std::uint64_t left = memory.regions()[unit.region].length - offset;
  return {unit.region, offset, std::min(left, k_unit_bytes)};
}

/// A writer that tells of what it writes.
class Told final : public TrackedMemory {
 public:
  static Result<std::unique_ptr<TrackedMemory>> make() { return std::make_unique<Told>(); }
  const GuestMemory& memory() const override { return regions_.memory(); }
  DirtyTracker& tracker() override { return tracker_; }
  void write(const std::vector<Unit>& units, std::uint64_t value) override {
    for (const Unit unit : units) {
      store(memory(), unit, value);
      tracker_.wrote(run_of(memory(), unit));
    }
  }

 private:
  Regions regions_{Backing::anonymous};
  ToldTracker tracker_{regions_.memory().layout()};
};

/// Two writers, who tell one tracker each.
class Merged final : public TrackedMemory {
 public:
  static Result<std::unique_ptr<TrackedMemory>> make() { return std::make_unique<Merged>(); }
  const GuestMemory& memory() const override { return regions_.memory(); }
  DirtyTracker& tracker() override { return *both_; }
  void write(const std::vector<Unit>& units, std::uint64_t value) override {
    for (const Unit unit : units) {
      store(memory(), unit, value);
      (unit.index % 2 == 0 ? even_ : odd_).wrote(run_of(memory(), unit));
    }
  }

 private:
  Regions regions_{Backing::anonymous};
  ToldTracker even_{regions_.memory().layout()};
  ToldTracker odd_{regions_.memory().layout()};
  std::unique_ptr<DirtyTracker> both_ = merge_trackers({&even_, &odd_});
};

}  // namespace

std::vector<Kind> kinds_without_kvm() {
  return {{"Told", Told::make},
          {"Merged", Merged::make},
          {"AnonymousMappings", OwnMappings<Backing::anonymous, store>::make},
          {"MappingsOfAMemfd", OwnMappings<Backing::shmem, store>::make},
          {"MappingsThatTheKernelWrites", OwnMappings<Backing::shmem, store_by_kernel>::make}};
}

std::uint64_t first_word(const GuestMemory& memory, Unit unit) {
  return std::atomic_ref(*word_of(memory, unit)).load(std::memory_order_relaxed);
}

}  // namespace ferry::test
