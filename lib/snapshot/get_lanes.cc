#include "snapshot/get_lanes.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

namespace ferry {
namespace {

/// One lane: several runs are being read while the one before them is dealt with.
class GetLane {
 public:
  GetLane(const SnapshotReader& reader, std::unique_ptr<PlacedIo> io, PageSink& sink)
      : reader_(reader), io_(std::move(io)), sink_(sink) {}

  Result<void> serve(WorkQueue& work) {
    while (const auto item = next(work)) {
      FERRY_TRY(begin(item->run));
    }
    while (!under_way_.empty()) FERRY_TRY(end_oldest());
    clock_.turn_to(nullptr);
    return {};
  }

  /// When its thread has ended.
  LaneReport report(unsigned lane) const {
    return {.lane = lane, .wire_bytes = bytes_, .packets = runs_, .times = clock_.times()};
  }

 private:
  struct Reading {
    PageRun run;
    std::span<const std::byte> bytes;
  };

  std::optional<PageWork> next(WorkQueue& work) {
    clock_.turn_to(&LaneTimes::idle);
    auto item = work.pop();
    clock_.turn_to(&LaneTimes::read);
    return item;
  }

  Result<void> begin(const PageRun& run) {
    if (under_way_.size() == io_->depth()) FERRY_TRY(end_oldest());
    std::span<std::byte> into = sink_.room_for(run);
    if (into.empty()) into = FERRY_TRY(io_->staging()).first(run.length);
    FERRY_TRY(io_->get(run, into));
    under_way_.push_back({run, into});
    bytes_ += run.length;
    ++runs_;
    return {};
  }

  Result<void> end_oldest() {
    FERRY_TRY(io_->settle());
    const Reading read = under_way_.front();
    under_way_.pop_front();
    clock_.turn_to(&LaneTimes::checksum);
    auto damaged = reader_.damaged_in(read.run, read.bytes);
    clock_.turn_to(&LaneTimes::place);
    if (damaged) {
      auto taken = sink_.take(read.run, read.bytes, *damaged);
      clock_.turn_to(&LaneTimes::read);
      return taken;
    }
    if (damaged.error().code != Errc::integrity) return std::unexpected(damaged.error());
    return sink_.lost(read.run, damaged.error());
  }

  const SnapshotReader& reader_;
  const std::unique_ptr<PlacedIo> io_;
  PageSink& sink_;
  std::deque<Reading> under_way_;
  PhaseClock clock_;
  std::uint64_t bytes_ = 0;
  std::uint64_t runs_ = 0;
};

void submit_all(const SnapshotReader& reader, LaneCrew& crew) {
  const std::size_t regions = reader.header().layout.regions.size();
  for (RegionId id = 0; id < regions; ++id) {
    std::uint64_t from = 0;
    while (auto run = reader.present().next_run(id, from, PlacedIo::k_staging_bytes)) {
      run->length = wire::padded(run->length);
      if (!crew.submit({.run = *run})) return;
      from = run->offset + run->length;
    }
  }
}

}  // namespace

Result<std::vector<LaneReport>> read_pages(const SnapshotReader& reader, unsigned lanes,
                                           const std::stop_token& stop, PageSink& sink) {
  lanes = std::max(lanes, 1u);
  std::vector<std::unique_ptr<GetLane>> readers;
  for (unsigned lane = 0; lane < lanes; ++lane) {
    readers.push_back(std::make_unique<GetLane>(reader, FERRY_TRY(reader.lane()), sink));
  }
  LaneCrew crew;
  const std::stop_callback on_stop(stop, [&crew] {
    crew.cancel({Errc::cancelled, 0, "cancelled", {}});
  });
  FERRY_TRY(crew.start("ferry-get", lanes,
                       [&readers](unsigned lane, WorkQueue& work, const std::stop_token&) {
                         return readers[lane]->serve(work);
                       }));
  submit_all(reader, crew);
  FERRY_TRY(crew.finish());
  std::vector<LaneReport> reports;
  for (const auto& lane : readers) {
    reports.push_back(lane->report(static_cast<unsigned>(reports.size())));
  }
  return reports;
}

}  // namespace ferry
