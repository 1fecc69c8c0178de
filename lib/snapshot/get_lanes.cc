#include "snapshot/get_lanes.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "snapshot/checksum_reader.h"
#include "snapshot/lane_crew.h"
#include "snapshot/lane_pipeline.h"
#include "snapshot/read_shares.h"

namespace ferry {
namespace {

/// One lane: what it reads is verified, and put where it belongs.
class GetLane {
 public:
  GetLane(const SnapshotReader& reader, std::unique_ptr<PlacedIo> io, PageSink& sink)
      : checksums_(reader),
        sink_(sink),
        pipeline_(std::move(io), clock_, [this](const auto& read) { return deal_with(read); }) {}

  /// Until there is nothing left for this lane, or it is to end.
  Result<void> serve(ReadShares& shares, unsigned lane, const std::stop_token& ending) {
    clock_.turn_to(&LaneTimes::read);
    while (!ending.stop_requested()) {
      const auto run = shares.next(lane);
      if (!run) break;
      FERRY_TRY(pipeline_.in_pieces(*run, [this](const auto& piece) { return begin(piece); }));
    }
    FERRY_TRY(pipeline_.finish());
    clock_.turn_to(nullptr);
    return {};
  }

  /// When its thread has ended.
  LaneReport report(unsigned lane) const {
    return {.lane = lane, .wire_bytes = bytes_, .packets = runs_, .times = clock_.times()};
  }

 private:
  Result<void> begin(const PageRun& run) {
    const auto read = FERRY_TRY(pipeline_.begin(run, sink_.room_for(run), run.length));
    FERRY_TRY(pipeline_.get(run, read));
    bytes_ += run.length;
    ++runs_;
    return {};
  }

  Result<void> deal_with(const LanePipeline::Read& read) {
    const auto damaged = FERRY_TRY(verify(read.run, read.bytes));
    clock_.turn_to(&LaneTimes::place);
    auto passed = pass_on(read, damaged);
    clock_.turn_to(&LaneTimes::read);
    return passed;
  }

  /// What is damaged of it. By the block of checksums: where one is damaged itself, the pages of
  /// the next are verified all the same.
  Result<std::vector<std::uint64_t>> verify(PageRun rest, std::span<const std::byte> units) {
    std::vector<std::uint64_t> damaged;
    while (rest.length > 0) {
      const PageRun run = ChecksumReader::in_one_block(rest);
      if (const auto checksums = checksums_.of(run)) {
        clock_.turn_to(&LaneTimes::checksum);
        const auto found = SnapshotReader::damaged_in(run, units.first(run.length), *checksums);
        clock_.turn_to(&LaneTimes::read);
        damaged.insert(damaged.end(), found.begin(), found.end());
      } else if (checksums.error().code == Errc::integrity) {
        FERRY_TRY(sink_.lost(checksums_.last(), checksums.error()));
      } else {
        return std::unexpected(checksums.error());
      }
      rest.offset += run.length;
      rest.length -= run.length;
      units = units.subspan(run.length);
    }
    return damaged;
  }

  Result<void> pass_on(const LanePipeline::Read& read, const std::vector<std::uint64_t>& damaged) {
    const auto onward = FERRY_TRY(sink_.take(read.run, read.bytes, damaged));
    if (!onward) return {};
    return pipeline_.put(*onward, read.bytes.first(onward->length));
  }

  ChecksumReader checksums_;
  PageSink& sink_;
  PhaseClock clock_;
  LanePipeline pipeline_;
  std::uint64_t bytes_ = 0;
  std::uint64_t runs_ = 0;
};

}  // namespace

Result<std::vector<LaneReport>> read_pages(const SnapshotReader& reader, const PageReading& reading,
                                           PageSink& sink) {
  const unsigned lanes = std::max(reading.lanes, 1u);
  std::vector<std::unique_ptr<GetLane>> readers;
  for (unsigned lane = 0; lane < lanes; ++lane) {
    readers.push_back(
        std::make_unique<GetLane>(reader, FERRY_TRY(reader.lane(reading.outside)), sink));
  }
  ReadShares shares(reader.present(), reader.header().layout,
                    reader.place().reads_far_ahead() ? lanes : 1);
  LaneCrew crew;
  const std::stop_callback on_stop(reading.stop, [&crew] {
    crew.cancel({Errc::cancelled, 0, "cancelled", {}});
  });
  FERRY_TRY(crew.start("ferry-get", lanes,
                       [&readers, &shares](unsigned lane, const std::stop_token& ending) {
                         return readers[lane]->serve(shares, lane, ending);
                       }));
  FERRY_TRY(crew.finish());
  std::vector<LaneReport> reports;
  for (const auto& lane : readers) {
    reports.push_back(lane->report(static_cast<unsigned>(reports.size())));
  }
  return reports;
}

}  // namespace ferry
