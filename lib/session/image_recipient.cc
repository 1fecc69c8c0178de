#include "session/image_recipient.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/escape.h"
#include "session/limit.h"
#include "snapshot/snapshot_digest.h"

namespace ferry {

ImageRecipient::ImageRecipient(Runtime& runtime, const GuestMemory& memory,
                               const SendOptions& options, const PrecopyGauge& gauge,
                               std::stop_token stop)
    : memory_(memory),
      options_(options),
      gauge_(gauge),
      stop_(std::move(stop)),
      loop_(runtime.loop()) {}

Result<void> ImageRecipient::connect(Places& places, const Uri& to) {
  places_ = &places;
  to_ = to;
  return {};
}

Result<void> ImageRecipient::layout(const Layout& layout) {
  writer_ = FERRY_TRY(SnapshotWriter::create(*places_, to_, layout));
  for (unsigned lane = 0; lane < options_.channels; ++lane) {
    auto io = FERRY_TRY(writer_->lane(memory_.regions()));
    FERRY_TRY(io->attach(memory_));
    lanes_.push_back(
        std::make_unique<PutLane>(*writer_, memory_, std::move(io), options_.bandwidth));
  }
  ticks_.emplace(loop_, options_.observer, [this] { return progress(); });
  return {};
}

Result<void> ImageRecipient::begin_round(std::uint32_t, Motion motion) {
  QueueCrew& crew = crew_.emplace();
  clones_.emplace(*writer_, memory_);
  on_stop_.emplace(stop_, [&crew] { crew.cancel({Errc::cancelled, 0, "cancelled", {}}); });
  return crew.start("ferry-put", options_.channels,
                    [this, motion](unsigned lane, WorkQueue& work, const std::stop_token& ending) {
                      return lanes_[lane]->serve(work, motion, *clones_, ending);
                    });
}

Result<void> ImageRecipient::submit(const PageRun& run, Content content) {
  constexpr std::uint64_t k_zero_bytes = std::uint64_t{1} << 30;
  const std::uint64_t most = content == Content::data ? LaneCrew::k_work_bytes : k_zero_bytes;
  for (std::uint64_t done = 0; done < run.length;) {
    const PageRun piece{run.region, run.offset + done, std::min(most, run.length - done)};
    if (!crew_->submit({.run = piece, .content = content})) return crew_->finish();
    done += piece.length;
  }
  return {};
}

Result<void> ImageRecipient::end_round(std::uint32_t, DirtyBitmap&) {
  auto done = crew_->finish();
  on_stop_.reset();
  clones_.reset();
  return done;
}

Result<void> ImageRecipient::prepare(std::vector<wire::Digest> digests) {
  FERRY_TRY(state_.put_into(*writer_));
  FERRY_TRY(writer_->seal());
  if (!digests.empty()) FERRY_TRY(read_again(digests));
  if (stop_.stop_requested()) return fail(Errc::cancelled, "cancelled");
  return writer_->show();
}

Result<void> ImageRecipient::read_again(const std::vector<wire::Digest>& digests) {
  const auto reader = FERRY_TRY(SnapshotReader::borrow(writer_->place(), to_.path));
  for (RegionId id = 0; id < digests.size(); ++id) {
    if (FERRY_TRY(digest_of(*reader, id, stop_)) != digests[id]) {
      return fail(Errc::integrity, fmt::format("verify {}: its digest differs from the source's",
                                               in_quotes(memory_.regions()[id].name)));
    }
  }
  return {};
}

Result<void> ImageRecipient::commit(const OwnerToken&) { return {}; }

Error ImageRecipient::give_up(Error error) {
  ticks_.reset();
  return error;
}

Progress ImageRecipient::progress() const {
  Report sums;
  add_to(sums);
  std::uint64_t done = 0;
  for (const auto& lane : lanes_) {
    done += lane->counters().done_bytes.load(std::memory_order_relaxed);
  }
  return {.bytes_total = memory_.total_bytes(),
          .bytes_done = std::min(done, memory_.total_bytes()),
          .wire_bytes = sums.wire_bytes,
          .elapsed = Clock::now() - began_,
          .precopy = gauge_.now()};
}

LineFigures ImageRecipient::line() const {
  std::uint64_t put_bytes = 0;
  for (const auto& lane : lanes_) {
    put_bytes += lane->counters().put_bytes.load(std::memory_order_relaxed);
  }
  return {.wire_bytes = put_bytes};
}

void ImageRecipient::add_to(Report& report) const {
  for (const auto& lane : lanes_) {
    const PutLane::Counters& of_lane = lane->counters();
    report.wire_bytes += of_lane.put_bytes.load(std::memory_order_relaxed);
    report.zero_bytes += of_lane.zero_bytes.load(std::memory_order_relaxed);
    report.packets += of_lane.puts.load(std::memory_order_relaxed);
    report.lanes.push_back(lane->report(static_cast<unsigned>(report.lanes.size())));
  }
  report.limit = what_limited_in_file(report.lanes, FileWork::save);
  report.channels = options_.channels;
  report.elapsed = Clock::now() - began_;
  report.peer = to_.shown();
  report.proof = Proof::durable_image;
}

}  // namespace ferry
