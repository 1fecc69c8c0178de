#include <fmt/format.h>

#include <bit>
#include <cstdint>
#include <utility>

#include "ferry/memory.h"

namespace ferry {
namespace {

Result<void> check_region(const MemoryRegion& region, std::size_t place) {
  const auto refuse = [&](std::string_view why) {
    return fail(Errc::usage, fmt::format("memory region {} '{}': {}", place, region.name, why));
  };
  if (region.id != place) return refuse("its id is not its place");
  if (!std::has_single_bit(region.page_size) || region.page_size < k_unit_bytes) {
    return refuse("its page size is no power of two of at least 4096");
  }
  if (region.length == 0) return {};
  if (region.host == nullptr && region.fd < 0) return refuse("neither mapping nor descriptor");
  // An end that is no address, or no file offset, would wrap in whoever adds up.
  const auto host = reinterpret_cast<std::uintptr_t>(region.host);
  if (region.length > UINTPTR_MAX - host) return refuse("it ends outside the address space");
  if (region.fd >= 0 && (region.fd_offset > INT64_MAX ||
                         region.length > std::uint64_t{INT64_MAX} - region.fd_offset)) {
    return refuse("it ends beyond any file");
  }
  return {};
}

std::string describe(const PageRun& run) {
  return fmt::format("run of {} bytes at {} in region {}", run.length, run.offset, run.region);
}

}  // namespace

Result<GuestMemory> GuestMemory::create(std::vector<MemoryRegion> regions) {
  GuestMemory memory;
  for (std::size_t place = 0; place < regions.size(); ++place) {
    FERRY_TRY(check_region(regions[place], place));
    if (regions[place].length > UINT64_MAX - memory.total_bytes_) {
      return fail(Errc::usage, "memory regions: their sum is beyond 64 bits");
    }
    memory.total_bytes_ += regions[place].length;
  }
  memory.regions_ = std::move(regions);
  return memory;
}

Layout GuestMemory::layout() const {
  Layout layout;
  layout.regions.reserve(regions_.size());
  for (const MemoryRegion& region : regions_) {
    layout.regions.push_back({region.name, region.guest_address, region.page_size, region.length});
  }
  return layout;
}

Result<const MemoryRegion*> GuestMemory::check(const PageRun& run) const {
  if (run.region >= regions_.size()) {
    return fail(Errc::protocol, describe(run) + ": no such region");
  }
  const MemoryRegion& region = regions_[run.region];
  if (run.offset % k_unit_bytes != 0) {
    return fail(Errc::protocol, describe(run) + ": it does not begin on a unit");
  }
  if (run.offset > region.length || run.length > region.length - run.offset) {
    return fail(Errc::protocol,
                fmt::format("{}: the region has {} bytes", describe(run), region.length));
  }
  if (run.length % k_unit_bytes != 0 && run.length != region.length - run.offset) {
    return fail(Errc::protocol, describe(run) + ": it ends inside a unit");
  }
  return &region;
}

Result<std::span<std::byte>> GuestMemory::at(const PageRun& run) const {
  const MemoryRegion* region = FERRY_TRY(check(run));
  if (run.length == 0) return std::span<std::byte>{};
  if (region->host == nullptr) {
    return fail(Errc::guest, fmt::format("memory region '{}' is not mapped", region->name));
  }
  return std::span(region->host + run.offset, run.length);
}

}  // namespace ferry
