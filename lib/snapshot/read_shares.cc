#include "snapshot/read_shares.h"

#include <algorithm>
#include <utility>

#include "snapshot/lane_crew.h"
#include "wire/image_format.h"

namespace ferry {
namespace {

constexpr std::uint64_t k_work_units = LaneCrew::k_work_bytes / k_unit_bytes;

}  // namespace

ReadShares::ReadShares(const PageBitmap& present, const Layout& layout, unsigned shares)
    : present_(present), region_begins_{0} {
  for (const LayoutRegion& region : layout.regions) {
    region_begins_.push_back(region_begins_.back() + wire::padded(region.length) / k_unit_bytes);
  }
  const std::uint64_t units = region_begins_.back();
  const std::uint64_t each = units / shares;
  for (unsigned i = 0; i < shares; ++i) {
    shares_.push_back({.begin = i * each, .end = i + 1 == shares ? units : (i + 1) * each});
  }
}

std::optional<PageRun> ReadShares::next(unsigned lane) {
  const std::scoped_lock lock(mutex_);
  Share& share = shares_[lane % shares_.size()];
  do {
    if (auto run = take_from(share)) return run;
  } while (take_over(share));
  return std::nullopt;
}

/// Nothing where there is no present unit left in it: it is empty then.
std::optional<PageRun> ReadShares::take_from(Share& share) const {
  auto run = share.left() > 0 ? first_run(share.begin) : std::nullopt;
  const std::uint64_t at = run ? region_begins_[run->region] + run->offset / k_unit_bytes : 0;
  if (!run || at >= share.end) {
    share.begin = share.end;
    return std::nullopt;
  }
  const std::uint64_t units = std::min(run->length / k_unit_bytes, share.end - at);
  run->length = units * k_unit_bytes;
  share.begin = at + units;
  return run;
}

/// Whole units.
std::optional<PageRun> ReadShares::first_run(std::uint64_t from) const {
  const auto next = std::ranges::upper_bound(region_begins_, from);
  auto region = static_cast<RegionId>(next - region_begins_.begin() - 1);
  std::uint64_t offset = (from - region_begins_[region]) * k_unit_bytes;
  for (; region + 1 < region_begins_.size(); ++region, offset = 0) {
    auto run = present_.next_run(region, offset, LaneCrew::k_work_bytes);
    if (!run) continue;
    run->length = wire::padded(run->length);
    return run;
  }
  return std::nullopt;
}

/// False where nobody has so much left that it pays.
bool ReadShares::take_over(Share& share) {
  Share& most = *std::ranges::max_element(shares_, {}, &Share::left);
  if (most.left() <= k_work_units) return false;
  share = {.begin = most.begin + most.left() / 2, .end = most.end};
  most.end = share.begin;
  return true;
}

}  // namespace ferry
