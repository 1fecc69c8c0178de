// What Linux 6.7 added for asynchronous write tracking, which Debian 12's headers do not have yet:
// names and numbers are the kernel's (linux/userfaultfd.h, linux/fs.h). Whether the running kernel
// knows them is found out at run time.
#pragma once

#include <sys/ioctl.h>

#include <cstdint>

namespace ferry::kernel {

/// Features of UFFDIO_API: pages without an entry can be write-protected; a write to a protected
/// page is noted by the kernel itself, and wakes nobody.
inline constexpr std::uint64_t k_uffd_wp_hugetlbfs_shmem = 1u << 12;
inline constexpr std::uint64_t k_uffd_wp_unpopulated = 1u << 13;
inline constexpr std::uint64_t k_uffd_wp_async = 1u << 15;

/// A category of a page: written since it was protected.
inline constexpr std::uint64_t k_page_is_written = 1u << 1;

/// Flags of a scan: protect what matches, in the same step; fail where a mapping is not registered.
inline constexpr std::uint64_t k_scan_wp_matching = 1u << 0;
inline constexpr std::uint64_t k_scan_check_wpasync = 1u << 1;

/// struct page_region: addresses [start, end) that are of the same categories.
struct PageRegion {
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t categories;
};

/// struct pm_scan_arg.
struct ScanArguments {
  std::uint64_t size;
  std::uint64_t flags;
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t walk_end;  ///< the answer: how far it came
  std::uint64_t regions;   ///< the address of PageRegions, or 0
  std::uint64_t region_count;
  std::uint64_t max_pages;
  std::uint64_t category_inverted;
  std::uint64_t category_mask;
  std::uint64_t category_any_of;
  std::uint64_t return_mask;
};
static_assert(sizeof(ScanArguments) == 96);

inline constexpr unsigned long k_pagemap_scan = _IOWR('f', 16, ScanArguments);

}  // namespace ferry::kernel
