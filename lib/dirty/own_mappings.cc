// track_own_mappings(): userfaultfd write protection in its asynchronous mode, read by
// PAGEMAP_SCAN.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "dirty/pagemap_scan.h"
#include "ferry/dirty_trackers.h"
#include "ferry/unique_fd.h"

namespace ferry {
namespace {

/// One region's mapping, in addresses, and rounded up to whole pages of its own.
struct Mapped {
  RegionId region;
  std::string name;
  std::uint64_t length;  // in bytes, the last unit may be partial
  std::uint64_t begin;
  std::uint64_t end;
};

constexpr const char* k_remedy =
    "it takes Linux 6.7 or later; a VMM on KVM can use track_kvm_log() instead";

Result<Mapped> mapped(const MemoryRegion& region) {
  const std::uint64_t page =
      region.backing == Backing::hugetlb ? region.page_size : std::uint64_t{k_unit_bytes};
  const auto begin = reinterpret_cast<std::uintptr_t>(region.host);
  if (region.host == nullptr || begin % page != 0) {
    return fail(Errc::usage, fmt::format("track writes to memory region '{}': {}", region.name,
                                         region.host == nullptr ? "it is not mapped"
                                                                : "it begins within a page"));
  }
  const std::uint64_t pages = region.length / page + (region.length % page != 0);
  return Mapped{region.id, region.name, region.length, begin, begin + pages * page};
}

/// A userfaultfd that needs no privilege. Its faults in user mode only are no bound here: in the
/// asynchronous mode no fault ever comes to it, the kernel's own and KVM's included.
Result<UniqueFd> open_userfaultfd() {
  constexpr int k_flags = O_CLOEXEC | UFFD_USER_MODE_ONLY;
  UniqueFd fd(static_cast<int>(::syscall(SYS_userfaultfd, k_flags)));
  if (fd) return fd;
  const int refused = errno;
  // Where a sandbox withholds the system call, the device may have been given.
  const UniqueFd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  if (device) fd.reset(::ioctl(device.get(), USERFAULTFD_IOC_NEW, k_flags));
  if (fd) return fd;
  return fail_sys(Errc::unsupported, refused, "track writes by userfaultfd",
                  "allow the system call userfaultfd, or give access to /dev/userfaultfd");
}

Result<void> switch_on(int userfaultfd) {
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | kernel::k_uffd_wp_hugetlbfs_shmem |
                 kernel::k_uffd_wp_unpopulated | kernel::k_uffd_wp_async;
  if (::ioctl(userfaultfd, UFFDIO_API, &api) == 0) return {};
  return fail_sys(Errc::unsupported, errno, "track writes by userfaultfd, asynchronously",
                  k_remedy);
}

class OwnMappings final : public DirtyTracker {
 public:
  OwnMappings(std::vector<Mapped> regions, UniqueFd userfaultfd, UniqueFd pagemap)
      : regions_(std::move(regions)),
        userfaultfd_(std::move(userfaultfd)),
        pagemap_(std::move(pagemap)) {}

  Result<void> start() override {
    for (const Mapped& region : regions_) {
      FERRY_TRY(watch(region));
      ++watched_;
      // Protects everything that is not protected yet, which is all of it: nobody is told.
      FERRY_TRY(scan(region, [](const PageRun&) {}));
    }
    return {};
  }

  Result<void> harvest(DirtyBitmap& into) override {
    for (const Mapped& region : regions_) {
      FERRY_TRY(scan(region, [&into](const PageRun& run) { into.mark(run); }));
    }
    return {};
  }

  void stop() noexcept override {
    // Only what is ours: kernels let one userfaultfd unregister what another one has.
    for (; watched_ > 0; --watched_) {
      const Mapped& region = regions_[watched_ - 1];
      uffdio_range range{region.begin, region.end - region.begin};
      ::ioctl(userfaultfd_.get(), UFFDIO_UNREGISTER, &range);
    }
  }

 private:
  Result<void> watch(const Mapped& region) {
    uffdio_register wanted{};
    wanted.range = {region.begin, region.end - region.begin};
    wanted.mode = UFFDIO_REGISTER_MODE_WP;
    if (::ioctl(userfaultfd_.get(), UFFDIO_REGISTER, &wanted) == 0) return {};
    const int why = errno;
    return fail_sys(Errc::system, why,
                    fmt::format("track writes to memory region '{}'", region.name),
                    why == EBUSY ? "another userfaultfd has it" : "");
  }

  /// Tells `written` of every run of pages written since they were last protected, and protects
  /// them: one step of the kernel's for each page, so that no write falls between the two.
  template <class Written>
  Result<void> scan(const Mapped& region, Written written) {
    kernel::ScanArguments scan{};
    scan.size = sizeof scan;
    scan.flags = kernel::k_scan_wp_matching | kernel::k_scan_check_wpasync;
    scan.regions = reinterpret_cast<std::uintptr_t>(found_.data());
    scan.region_count = found_.size();
    scan.category_mask = kernel::k_page_is_written;
    scan.return_mask = kernel::k_page_is_written;
    scan.end = region.end;
    for (scan.start = region.begin; scan.start < region.end; scan.start = scan.walk_end) {
      const int count = ::ioctl(pagemap_.get(), kernel::k_pagemap_scan, &scan);
      if (count < 0) return std::unexpected(scan_failed(region, errno));
      for (int i = 0; i < count; ++i) written(run_of(region, found_[static_cast<unsigned>(i)]));
    }
    return {};
  }

  static PageRun run_of(const Mapped& region, const kernel::PageRegion& found) {
    const std::uint64_t offset = found.start - region.begin;
    return {region.region, offset, std::min(found.end - found.start, region.length - offset)};
  }

  static Error scan_failed(const Mapped& region, int why) {
    return fail_sys(Errc::system, why,
                    fmt::format("scan memory region '{}' for writes", region.name),
                    why == EPERM ? "was it mapped anew since tracking began?" : "")
        .error();
  }

  std::vector<Mapped> regions_;
  std::size_t watched_ = 0;  // the first so many regions are registered
  UniqueFd userfaultfd_;
  UniqueFd pagemap_;
  std::array<kernel::PageRegion, 512> found_{};
};

/// Does this kernel know PAGEMAP_SCAN? Asked of an empty range.
Result<void> check_scan(int pagemap) {
  kernel::ScanArguments nothing{};
  nothing.size = sizeof nothing;
  nothing.category_mask = kernel::k_page_is_written;
  nothing.return_mask = kernel::k_page_is_written;
  if (::ioctl(pagemap, kernel::k_pagemap_scan, &nothing) >= 0) return {};
  return fail_sys(Errc::unsupported, errno, "scan /proc/self/pagemap for writes", k_remedy);
}

}  // namespace

Result<std::unique_ptr<DirtyTracker>> track_own_mappings(const GuestMemory& memory) {
  std::vector<Mapped> regions;
  for (const MemoryRegion& region : memory.regions()) {
    if (region.length != 0) regions.push_back(FERRY_TRY(mapped(region)));
  }
  UniqueFd userfaultfd = FERRY_TRY(open_userfaultfd());
  FERRY_TRY(switch_on(userfaultfd.get()));
  UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap) return fail_sys(Errc::unsupported, errno, "open /proc/self/pagemap");
  FERRY_TRY(check_scan(pagemap.get()));
  return std::make_unique<OwnMappings>(std::move(regions), std::move(userfaultfd),
                                       std::move(pagemap));
}

}  // namespace ferry
