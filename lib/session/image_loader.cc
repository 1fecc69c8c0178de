#include "session/image_loader.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/escape.h"
#include "memory/region_io.h"
#include "session/fresh_token.h"
#include "session/limit.h"
#include "session/progress_ticks.h"
#include "snapshot/get_lanes.h"
#include "snapshot/snapshot_reader.h"
#include "snapshot/snapshot_state.h"

namespace ferry {
namespace {

/// Puts what was read where the guest has it.
class MemorySink final : public PageSink {
 public:
  MemorySink(const SnapshotReader& reader, const GuestMemory& memory,
             std::atomic<std::uint64_t>& read_bytes)
      : reader_(reader), memory_(memory), read_bytes_(read_bytes) {}

  std::span<std::byte> room_for(const PageRun& units) override {
    const MemoryRegion& region = memory_.regions()[units.region];
    const bool whole = units.length <= region.length - units.offset;
    if (!whole || reinterpret_cast<std::uintptr_t>(region.host) % k_unit_bytes != 0) return {};
    return region.host == nullptr ? std::span<std::byte>()
                                  : std::span(region.host + units.offset, units.length);
  }

  Result<std::optional<PageRun>> take(const PageRun& units, std::span<const std::byte> bytes,
                                      const std::vector<std::uint64_t>& damaged) override {
    const MemoryRegion& region = memory_.regions()[units.region];
    if (!damaged.empty()) return reader_.damaged(reader_.name_of(units.region, damaged.front()));
    const auto ours = bytes.first(std::min(units.length, region.length - units.offset));
    read_bytes_.fetch_add(ours.size(), std::memory_order_relaxed);
    if (region.host == nullptr) return put_on(region, units.offset, ours);
    if (ours.data() != region.host + units.offset) {
      std::ranges::copy(ours, region.host + units.offset);
    }
    return std::nullopt;
  }

  Result<void> lost(const ChecksumBlock&, const Error& why) override {
    return std::unexpected(why);
  }

 private:
  /// Whole units go by the lane that read them, behind whose regions the guest's are; what a region
  /// has besides, at its end, is written here and now.
  Result<std::optional<PageRun>> put_on(const MemoryRegion& region, std::uint64_t offset,
                                        std::span<const std::byte> bytes) const {
    const std::size_t whole = bytes.size() - bytes.size() % k_unit_bytes;
    FERRY_TRY(store(region, offset + whole, bytes.subspan(whole)));
    if (whole == 0) return std::nullopt;
    const auto regions = static_cast<RegionId>(memory_.regions().size());
    return PageRun{regions + region.id, offset, whole};
  }

  const SnapshotReader& reader_;
  const GuestMemory& memory_;
  std::atomic<std::uint64_t>& read_bytes_;
};

}  // namespace

ImageLoader::ImageLoader(Runtime& runtime, DestinationGuest& guest, const ReceiveOptions& options,
                         std::stop_token stop)
    : loop_(runtime.loop()), guest_(guest), options_(options), stop_(std::move(stop)) {}

Result<void> ImageLoader::run(Places& places, const Uri& from) {
  from_ = from.shown();
  auto done = load(places, from);
  if (!done) enter(DestinationEvent::failed);
  return done;
}

Result<void> ImageLoader::load(Places& places, const Uri& from) {
  const auto reader = FERRY_TRY(SnapshotReader::open(FERRY_TRY(places.open(from)), from.path));
  enter(DestinationEvent::layout);
  memory_ = FERRY_TRY(guest_.map_memory(reader->header().layout));
  if (memory_.layout() != reader->header().layout) {
    return fail(Errc::guest, "map memory: its layout is not the one that the snapshot has");
  }
  FERRY_TRY(read(*reader));
  FERRY_TRY(load_state(*reader));
  FERRY_TRY(guest_.prepare());
  enter(DestinationEvent::prepared);
  if (stop_.stop_requested()) return fail(Errc::cancelled, "cancelled");
  enter(DestinationEvent::commit);
  FERRY_TRY(guest_.start(fresh_token()));
  enter(DestinationEvent::started);
  return {};
}

Result<void> ImageLoader::load_state(const SnapshotReader& reader) {
  SnapshotState origin(reader, stop_);
  StateReader in(origin);
  FERRY_TRY(guest_.load_state(in));
  if (const auto left = FERRY_TRY(in.next())) {
    return fail(Errc::guest, "load device state: " + in_quotes(left->name) + " was not read");
  }
  for (const wire::ImageSection& section : reader.sections()) state_bytes_ += section.length;
  state_sections_ = reader.sections().size();
  return {};
}

Result<void> ImageLoader::read(const SnapshotReader& reader) {
  for (RegionId id = 0; id < memory_.regions().size(); ++id) {
    absent_bytes_ += memory_.regions()[id].length;
    std::uint64_t from = 0;
    while (const auto run = reader.present().next_run(id, from)) {
      absent_bytes_ -= run->length;
      from = run->offset + wire::padded(run->length);
    }
  }
  const ProgressTicks ticks(loop_, options_.observer, [this] {
    const std::uint64_t read_bytes = read_bytes_.load(std::memory_order_relaxed);
    return Progress{.bytes_total = memory_.total_bytes(),
                    .bytes_done = absent_bytes_ + read_bytes,
                    .wire_bytes = read_bytes,
                    .elapsed = Clock::now() - began_};
  });
  MemorySink sink(reader, memory_, read_bytes_);
  lanes_ = FERRY_TRY(read_pages(
      reader, {.lanes = options_.channels, .stop = stop_, .outside = memory_.regions()}, sink));
  return {};
}

void ImageLoader::enter(DestinationEvent event) {
  const auto next_state = next(state_, event);
  assert(next_state);
  state_ = *next_state;
}

void ImageLoader::add_to(Report& report) const {
  report.bytes = memory_.total_bytes();
  report.wire_bytes = read_bytes_.load(std::memory_order_relaxed);
  report.zero_bytes = absent_bytes_;
  report.state_bytes = state_bytes_;
  report.state_sections = state_sections_;
  report.channels = options_.channels;
  report.elapsed = Clock::now() - began_;
  report.peer = from_;
  report.proof = Proof::verified_image;
  report.lanes = lanes_;
  for (const LaneReport& lane : lanes_) report.packets += lane.packets;
  report.limit = what_limited_in_file(lanes_, FileWork::load);
}

}  // namespace ferry
