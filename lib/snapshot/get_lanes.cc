#include "snapshot/get_lanes.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

namespace ferry {
namespace {

/// One lane: several runs are being read while the one before them is dealt with, and the ones
/// before that are put where they belong.
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
  enum class Kind {
    get,
    put,
    held,  ///< done with, but its buffer comes round again only behind those of older puts
  };
  struct Move {
    Kind kind = Kind::get;
    PageRun run;  // of the snapshot
    std::span<std::byte> bytes;
    std::uint64_t staged = 0;  // of these: in a buffer of the lane's
  };
  struct Load {
    unsigned runs = 0;
    std::uint64_t staged = 0;
  };

  std::optional<PageWork> next(WorkQueue& work) {
    clock_.turn_to(&LaneTimes::idle);
    auto item = work.pop();
    clock_.turn_to(&LaneTimes::read);
    return item;
  }

  /// While there are puts, gets have half of the lane: else it would be all gets, and then all
  /// puts, and never both.
  bool has_room(std::uint64_t staged) const noexcept {
    const std::uint64_t all_staged = gets_.staged + puts_.staged;
    if (gets_.runs + puts_.runs == io_->depth() || staged > PlacedIo::k_staged_bytes - all_staged) {
      return false;
    }
    const unsigned parts = puts_on_ ? 2 : 1;
    return gets_.runs == 0 || (gets_.runs < io_->depth() / parts &&
                               gets_.staged + staged <= PlacedIo::k_staged_bytes / parts);
  }

  Result<void> begin(const PageRun& run) {
    std::span<std::byte> into = sink_.room_for(run);
    const std::uint64_t staged = into.empty() ? run.length : 0;
    while (!has_room(staged)) FERRY_TRY(end_oldest());
    if (into.empty()) into = FERRY_TRY(io_->staging(run.length));
    FERRY_TRY(io_->get(run, into));
    push({.kind = Kind::get, .run = run, .bytes = into, .staged = staged});
    bytes_ += run.length;
    ++runs_;
    return {};
  }

  Result<void> end_oldest() {
    const Kind oldest = under_way_.front().kind;
    clock_.turn_to(oldest == Kind::put ? &LaneTimes::place : &LaneTimes::read);
    if (oldest != Kind::held) FERRY_TRY(io_->settle());
    clock_.turn_to(&LaneTimes::read);
    const Move ended = pop();
    if (ended.kind != Kind::get) return {};
    const auto checksums = reader_.checksums_of(ended.run);
    if (checksums) {
      clock_.turn_to(&LaneTimes::checksum);
      const auto damaged = SnapshotReader::damaged_in(ended.run, ended.bytes, *checksums);
      clock_.turn_to(&LaneTimes::place);
      auto passed = pass_on(ended, damaged);
      clock_.turn_to(&LaneTimes::read);
      return passed;
    }
    if (checksums.error().code != Errc::integrity) return std::unexpected(checksums.error());
    FERRY_TRY(sink_.lost(ended.run, checksums.error()));
    hold(ended);
    return {};
  }

  Result<void> pass_on(const Move& got, const std::vector<std::uint64_t>& damaged) {
    const auto onward = FERRY_TRY(sink_.take(got.run, got.bytes, damaged));
    if (!onward) {
      hold(got);
      return {};
    }
    puts_on_ = true;
    FERRY_TRY(io_->put(*onward, got.bytes.first(onward->length)));
    push({.kind = Kind::put, .run = got.run, .bytes = got.bytes, .staged = got.staged});
    return {};
  }

  void hold(const Move& got) {
    if (got.staged == 0 || puts_.runs == 0) return;
    push({.kind = Kind::held, .run = got.run, .bytes = got.bytes, .staged = got.staged});
  }

  Load& load_of(Kind kind) noexcept { return kind == Kind::get ? gets_ : puts_; }
  void push(const Move& move) {
    load_of(move.kind).runs += move.kind != Kind::held;
    load_of(move.kind).staged += move.staged;
    under_way_.push_back(move);
  }
  Move pop() {
    const Move move = under_way_.front();
    under_way_.pop_front();
    load_of(move.kind).runs -= move.kind != Kind::held;
    load_of(move.kind).staged -= move.staged;
    return move;
  }

  const SnapshotReader& reader_;
  const std::unique_ptr<PlacedIo> io_;
  PageSink& sink_;
  std::deque<Move> under_way_;
  Load gets_;
  Load puts_;  // and what is held
  bool puts_on_ = false;
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

Result<std::vector<LaneReport>> read_pages(const SnapshotReader& reader, const PageReading& reading,
                                           PageSink& sink) {
  const unsigned lanes = std::max(reading.lanes, 1u);
  std::vector<std::unique_ptr<GetLane>> readers;
  for (unsigned lane = 0; lane < lanes; ++lane) {
    readers.push_back(
        std::make_unique<GetLane>(reader, FERRY_TRY(reader.lane(reading.outside)), sink));
  }
  LaneCrew crew;
  const std::stop_callback on_stop(reading.stop, [&crew] {
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
