#include "snapshot/put_lane.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/checksum.h"
#include "memory/region_io.h"
#include "memory/zero_page.h"
#include "wire/image_format.h"

namespace ferry {
namespace {

bool on_a_unit(const std::byte* memory) noexcept {
  return reinterpret_cast<std::uintptr_t>(memory) % k_unit_bytes == 0;
}

void add(std::atomic<std::uint64_t>& counter, std::uint64_t much) noexcept {
  counter.fetch_add(much, std::memory_order_relaxed);
}

}  // namespace

PutLane::PutLane(SnapshotWriter& writer, const GuestMemory& memory, std::unique_ptr<PlacedIo> io,
                 BandwidthLimit* bandwidth)
    : writer_(writer),
      memory_(memory),
      bandwidth_(bandwidth),
      pipeline_(std::move(io), clock_,
                [this](const auto& read) { return put_piece(read.run, read.bytes); }) {}

Result<void> PutLane::serve(WorkQueue& work, Motion motion, CloneSource& clones,
                            const std::stop_token& unbounded) {
  const Round round{motion, clones, unbounded};
  round_ = &round;
  auto done = deal_with_all(work);
  round_ = nullptr;
  clock_.turn_to(nullptr);
  return done;
}

Result<void> PutLane::deal_with_all(WorkQueue& work) {
  while (const auto item = next(work)) {
    if (item->content == Content::zeros) {
      FERRY_TRY(note_zeros(item->run));
      add(counters_.done_bytes, item->run.length);
    } else {
      FERRY_TRY(
          pipeline_.in_pieces(item->run, [this](const auto& piece) { return begin_piece(piece); }));
    }
  }
  return pipeline_.finish();
}

std::optional<PageWork> PutLane::next(WorkQueue& work) {
  clock_.turn_to(&LaneTimes::idle);
  auto item = work.pop();
  clock_.turn_to(&LaneTimes::read);
  return item;
}

LaneReport PutLane::report(unsigned lane) const {
  return {.lane = lane,
          .wire_bytes = counters_.put_bytes.load(std::memory_order_relaxed),
          .packets = counters_.puts.load(std::memory_order_relaxed),
          .times = clock_.times()};
}

/// In whole units, the last one padded by zeros, where nobody writes to them until they are put.
Result<void> PutLane::begin_piece(const PageRun& piece) {
  const MemoryRegion& region = *FERRY_TRY(memory_.check(piece));
  const std::uint64_t whole = wire::padded(piece.length);
  if (region.host != nullptr && round_->motion == Motion::still && piece.length == whole &&
      on_a_unit(region.host)) {
    return put_piece(piece, FERRY_TRY(memory_.at(piece)));
  }
  const auto read = FERRY_TRY(pipeline_.begin(piece, {}, whole));
  if (region.host == nullptr && piece.length == whole) {
    const auto regions = static_cast<RegionId>(memory_.regions().size());
    return pipeline_.get({regions + piece.region, piece.offset, piece.length}, read);
  }
  const auto bytes = FERRY_TRY(view(region, piece, read.bytes));
  if (bytes.data() != read.bytes.data()) std::ranges::copy(bytes, read.bytes.begin());
  std::ranges::fill(read.bytes.subspan(piece.length), std::byte{0});
  return pipeline_.got(read);
}

Result<void> PutLane::put_piece(const PageRun& piece, std::span<const std::byte> units) {
  for (std::uint64_t begin = 0; begin < units.size();) {
    clock_.turn_to(&LaneTimes::checksum);
    std::uint64_t end = begin;
    while (end < units.size()) {
      const auto unit = units.subspan(end, k_unit_bytes);
      if (is_zero(unit)) break;
      writer_.note_present(piece.region, piece.offset + end, xxh3_64(unit));
      end += k_unit_bytes;
    }
    const PageRun data{piece.region, piece.offset + begin, end - begin};
    const bool whole = end <= piece.length;
    clock_.turn_to(&LaneTimes::place);
    if (end > begin && !(whole && round_->clones.share(data))) {
      FERRY_TRY(put_units(data, units.subspan(begin, end - begin)));
    }
    begin = end;
    clock_.turn_to(&LaneTimes::checksum);
    while (end < units.size() && is_zero(units.subspan(end, k_unit_bytes))) end += k_unit_bytes;
    if (end > begin) FERRY_TRY(note_zeros({piece.region, piece.offset + begin, end - begin}));
    begin = end;
  }
  add(counters_.done_bytes, piece.length);
  clock_.turn_to(&LaneTimes::read);
  return {};
}

Result<void> PutLane::put_units(const PageRun& run, std::span<const std::byte> units) {
  if (bandwidth_ != nullptr) {
    clock_.turn_to(&LaneTimes::bandwidth);
    bandwidth_->acquire(run.length, round_->unbounded);
    clock_.turn_to(&LaneTimes::place);
  }
  FERRY_TRY(pipeline_.put(run, units));
  add(counters_.put_bytes, run.length);
  add(counters_.puts, 1);
  return {};
}

Result<void> PutLane::note_zeros(const PageRun& run) {
  add(counters_.zero_bytes, run.length);
  return writer_.note_zeros(run);
}

}  // namespace ferry
