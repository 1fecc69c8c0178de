#include "multifd/page_sender.h"

#include <fmt/format.h>

#include <algorithm>

#include "memory/region_io.h"

namespace ferry {
namespace {

// One item of work: large enough that the queue costs nothing, small enough that lanes end a round
// together.
constexpr std::uint64_t k_work_bytes = 1024 * 1024;
// Items that wait. The memory itself is not in the queue: a few per lane keep every lane busy.
constexpr std::size_t k_queue_items = 64;

}  // namespace

PageSender::PageSender(const GuestMemory& memory, const LaneOptions& options, LaneEvents events)
    : memory_(memory),
      events_(std::move(events)),
      options_(options),
      work_(k_queue_items, k_queue_items / 2) {}

PageSender::~PageSender() { close(); }

Result<void> PageSender::add_lane(Link& link) {
  const auto index = static_cast<std::uint16_t>(lanes_.size());  // nobody else adds any
  auto lane = std::make_unique<SendLane>(index, link, memory_, work_, options_,
                                         unbounded_.get_token(), events_);
  // Not with the list locked, which the heartbeat looks at.
  FERRY_TRY(lane->attach());
  const std::scoped_lock lock(mutex_);
  lanes_.push_back(std::move(lane));
  return lanes_.back()->start();
}

void PageSender::begin_round(std::uint32_t round, Motion motion) {
  const std::scoped_lock lock(mutex_);
  for (const auto& lane : lanes_) lane->begin_round(round, motion);
}

bool PageSender::submit(PageRun run, Content content) {
  if (content == Content::zeros) return work_.push({.run = run, .content = content});
  // Long before a lane comes to it: of a large round the lanes have some 32 MiB before them.
  read_ahead(memory_.regions()[run.region], run);
  while (run.length > 0) {
    PageRun piece = run;
    piece.length = std::min(run.length, k_work_bytes);
    if (!work_.push({.run = piece})) return false;
    run.offset += piece.length;
    run.length -= piece.length;
  }
  return true;
}

bool PageSender::submit_state(std::uint32_t section, std::uint64_t offset,
                              std::span<const std::byte> piece) {
  if (!window_.enter()) return false;
  return work_.push(
      {.piece = std::make_shared<const PackedPiece>(window_, section, offset, piece)});
}

bool PageSender::end_round() {
  if (!work_.wait_empty()) return false;
  const std::scoped_lock lock(mutex_);
  for (const auto& lane : lanes_) lane->end_round();
  work_.poke();  // once: it wakes every lane
  return true;
}

void PageSender::round_acknowledged() {
  const std::scoped_lock lock(mutex_);
  for (const auto& lane : lanes_) lane->round_acknowledged();
}

std::vector<LaneReport> PageSender::lane_reports() const {
  std::vector<LaneReport> reports;
  const std::scoped_lock lock(mutex_);
  for (const auto& lane : lanes_) reports.push_back(lane->report());
  return reports;
}

Result<void> PageSender::resend(const wire::Nak& nak) {
  const std::scoped_lock lock(mutex_);
  if (nak.lane >= lanes_.size()) {
    return fail(Errc::protocol,
                fmt::format("NAK for channel {}: there is no such channel", nak.lane));
  }
  return lanes_[nak.lane]->resend(nak);
}

Result<void> PageSender::state_acknowledged(const wire::StateAck& ack) {
  const std::scoped_lock lock(mutex_);
  if (ack.lane >= lanes_.size()) {
    return fail(Errc::protocol,
                fmt::format("state-ack for channel {}: there is no such channel", ack.lane));
  }
  return lanes_[ack.lane]->state_acknowledged(ack.sequence);
}

wire::Transcript PageSender::transcript() const {
  wire::Transcript transcript;
  const std::scoped_lock lock(mutex_);
  for (const auto& lane : lanes_) transcript.lanes.push_back(lane->transcript());
  return transcript;
}

PageSender::Totals PageSender::totals() const {
  Totals totals{.state_pieces = window_.left()};
  const std::scoped_lock lock(mutex_);
  for (const auto& lane : lanes_) {
    const SendCounters& of_lane = lane->counters();
    totals.wire_bytes += of_lane.wire_bytes.load(std::memory_order_relaxed);
    totals.placed_bytes += of_lane.placed_bytes.load(std::memory_order_relaxed);
    totals.zero_bytes += of_lane.zero_bytes.load(std::memory_order_relaxed);
    totals.resent_units += of_lane.resent_units.load(std::memory_order_relaxed);
    totals.wait_micros += of_lane.wait_micros.load(std::memory_order_relaxed);
    totals.zero_copy_fallbacks += lane->zero_copy_fallbacks();
    totals.packets += lane->transcript().packets;
  }
  return totals;
}

}  // namespace ferry
