#include "tests/session/memory_guest.h"
#include "tests/same_bytes.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <random>

namespace ferry::test {
namespace {

MemoryRegion map(RegionId id, const LayoutRegion& wanted) {
  MemoryRegion region{.id = id,
                      .name = wanted.name,
                      .guest_address = wanted.guest_address,
                      .page_size = wanted.page_size,
                      .length = wanted.length};
  if (wanted.length == 0) return region;
  void* const at = ::mmap(nullptr, wanted.length, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) std::abort();
  region.host = static_cast<std::byte*>(at);
  return region;
}

GuestMemory map_all(const Layout& layout) {
  std::vector<MemoryRegion> regions;
  for (const LayoutRegion& wanted : layout.regions) {
    regions.push_back(map(static_cast<RegionId>(regions.size()), wanted));
  }
  return GuestMemory::create(std::move(regions)).value();
}

Result<void> run(const Hook& hook) { return hook ? hook() : Result<void>{}; }

}  // namespace

Layout layout_of(const std::vector<std::uint64_t>& lengths) {
  Layout layout;
  std::uint64_t address = 0;
  for (const std::uint64_t length : lengths) {
    layout.regions.push_back({.name = "ram" + std::to_string(layout.regions.size()),
                              .guest_address = address,
                              .length = length});
    address += std::uint64_t{1} << 32;
  }
  return layout;
}

Mappings::Mappings(const Layout& layout) : memory_(map_all(layout)) {}

Mappings::~Mappings() {
  for (const MemoryRegion& region : memory_.regions()) {
    if (region.host != nullptr) ::munmap(region.host, region.length);
  }
}

std::span<std::byte> Mappings::region(std::size_t index) noexcept {
  const MemoryRegion& region = memory_.regions()[index];
  return {region.host, region.length};
}

std::span<const std::byte> Mappings::region(std::size_t index) const noexcept {
  const MemoryRegion& region = memory_.regions()[index];
  return {region.host, region.length};
}

MemorySource::MemorySource(const Layout& layout, unsigned seed) : mappings_(layout) {
  std::mt19937_64 random(seed);
  std::array<std::uint64_t, k_unit_bytes / 8> noise;
  std::ranges::generate(noise, random);
  for (std::size_t index = 0; index < layout.regions.size(); ++index) {
    const auto bytes = mappings_.region(index);
    for (std::size_t at = 0; at < bytes.size(); at += k_unit_bytes) {
      if (at / k_unit_bytes % 3 == 2) continue;
      const auto unit = bytes.subspan(at, std::min<std::size_t>(k_unit_bytes, bytes.size() - at));
      ++noise[0];  // tells the units apart
      std::memcpy(unit.data(), noise.data(), unit.size());
    }
  }
}

void MemorySource::write_unnoticed(RegionId region, std::uint64_t unit, std::byte value) {
  const auto bytes = mappings_.region(region).subspan(unit * k_unit_bytes);
  std::ranges::fill(bytes.first(std::min<std::size_t>(k_unit_bytes, bytes.size())), value);
}

void MemorySource::write(RegionId region, std::uint64_t unit, std::byte value) {
  write_unnoticed(region, unit, value);
  const std::uint64_t offset = unit * k_unit_bytes;
  const std::uint64_t left = mappings_.region(region).size() - offset;
  written_.push_back({region, offset, std::min(k_unit_bytes, left)});
}

Result<void> MemorySource::pause() {
  FERRY_TRY(run(on_pause));
  ++pauses_;
  return {};
}

Result<void> MemorySource::resume() {
  FERRY_TRY(run(on_resume));
  ++resumes_;
  return {};
}

Result<void> MemorySource::save_state(StateWriter& out) {
  return on_save ? on_save(out) : SourceGuest::save_state(out);
}

Result<void> MemorySource::start() {
  FERRY_TRY(run(on_start_tracking));
  tracking_ = true;
  return {};
}

Result<void> MemorySource::harvest(DirtyBitmap& into) {
  ++harvests_;
  FERRY_TRY(run(on_harvest));
  for (const PageRun& run : written_) into.mark(run);
  written_.clear();
  return {};
}

void MemorySource::stop() noexcept {
  on_stop_tracking();
  tracking_ = false;
}

Result<GuestMemory> MemoryDestination::map_memory(const Layout& wanted) {
  FERRY_TRY(run(on_map_memory));
  mappings_.emplace(wanted);
  return mappings_->memory();
}

Result<void> MemoryDestination::load_state(StateReader& in) {
  return on_load ? on_load(in) : DestinationGuest::load_state(in);
}

Result<void> MemoryDestination::prepare() {
  FERRY_TRY(run(on_prepare));
  ++prepares_;
  return {};
}

Result<void> MemoryDestination::start(const OwnerToken& token) {
  FERRY_TRY(run(on_start));
  ++starts_;
  token_ = token;
  return {};
}

bool identical(const MemorySource& left, const MemoryDestination& arrived) {
  if (!arrived.mappings()) return false;
  const std::size_t regions = left.mappings().memory().regions().size();
  if (arrived.mappings()->memory().regions().size() != regions) return false;
  for (std::size_t index = 0; index < regions; ++index) {
    if (!same_bytes(left.mappings().region(index), arrived.mappings()->region(index))) {
      return false;
    }
  }
  return true;
}

}  // namespace ferry::test
