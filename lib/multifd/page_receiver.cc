#include "multifd/page_receiver.h"

#include <fmt/format.h>

#include <utility>

#include "loop/thread.h"

namespace ferry {

PageReceiver::PageReceiver(const GuestMemory& memory, unsigned lanes, Link& control,
                           std::function<void(Error)> on_failure, KeepState keep_state)
    : memory_(memory),
      control_(control),
      on_failure_(std::move(on_failure)),
      keep_state_(std::move(keep_state)),
      received_(memory.layout()),
      suspect_(memory.layout()),
      lines_(lanes) {
  for (unsigned index = 0; index < lanes; ++index) {
    lanes_.push_back(std::make_unique<ReceiveLane>(static_cast<std::uint16_t>(index), *this));
  }
}

PageReceiver::~PageReceiver() {
  cancel(Errc::cancelled);
  join();
}

Result<void> PageReceiver::add_lane(std::uint16_t index, std::unique_ptr<Link> link) {
  const std::scoped_lock lock(mutex_);
  Line& line = lines_[index];
  if (cancelled_) return {};
  if (line.now) {
    if (!line.expects_next || line.next) return {};
    line.next = std::move(link);
    next_line_.notify_all();
    return {};
  }
  line.now = std::move(link);
  threads_.push_back(
      FERRY_TRY(start_thread(fmt::format("ferry-recv-{}", index).c_str(),
                             [this, index, &first = *line.now] { read_lane(index, first); })));
  return {};
}

Result<void> PageReceiver::expect_another(std::uint16_t index) {
  const std::scoped_lock lock(mutex_);
  if (index >= lines_.size()) {
    return fail(Errc::protocol, fmt::format("replace channel {}: there is no such lane", index));
  }
  if (std::exchange(lines_[index].expects_next, true)) {
    return fail(Errc::protocol, fmt::format("replace channel {}: it is being replaced", index));
  }
  return {};
}

/// Of all lanes, with the lock held.
template <class Apply>
void PageReceiver::for_each_link(Apply apply) const {
  for (const Line& line : lines_) {
    for (const auto* link : {&line.last, &line.now, &line.next}) {
      if (*link) apply(**link);
    }
  }
}

void PageReceiver::cancel(Errc why) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    if (!cancelled_) cancelled_ = why;
    for_each_link([why](Link& link) { link.cancel(why); });
  }
  round_over_.notify_all();
  next_line_.notify_all();
}

void PageReceiver::join() {
  std::vector<std::thread> threads;
  {
    const std::scoped_lock lock(mutex_);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

void PageReceiver::read_lane(std::uint16_t index, Link& first) {
  const auto read_all = [&]() -> Result<void> {
    for (Link* line = &first; line != nullptr; line = FERRY_TRY(next_line(index))) {
      FERRY_TRY(read_line(index, *line));
      // Whoever finished it has put all that it was to put. It may leave the lane before the whole
      // session is withdrawn, and must not be able to write to memory then.
      line->withdraw();
    }
    return {};
  };
  if (auto done = read_all(); !done) on_failure_(std::move(done).error());
}

Result<void> PageReceiver::read_line(std::uint16_t index, Link& link) {
  if (link.is_target()) FERRY_TRY(link.admit(memory_));
  while (true) {
    const auto begin = Clock::now();
    const auto message = FERRY_TRY(link.next());
    if (!message) return {};
    lane(index).clock().add({.socket = Clock::now() - begin});
    if (message->kind != wire::MessageKind::packet) {
      return fail(Errc::protocol,
                  fmt::format("channel {}: a control frame on a page channel", index));
    }
    FERRY_TRY(lane(index).take(message->bytes, link));
  }
}

/// Where the one that a lane had has ended; null where the last round has. A channel that was
/// closed on the way looks like one that the source finished. Nobody else would notice: the source
/// writes to it no more, and the other lanes wait for the end of its round.
Result<Link*> PageReceiver::next_line(std::uint16_t index) {
  Line& line = lines_[index];
  std::unique_ptr<Link> gone;  // destroyed without the lock
  std::unique_lock lock(mutex_);
  if (!frozen_ && !line.expects_next) {
    return fail(Errc::disconnected,
                fmt::format("channel {}: it ended before the last round did", index));
  }
  next_line_.wait(lock,
                  [&] { return frozen_ || cancelled_ || (line.next != nullptr && !withdrawn_); });
  if (frozen_) return nullptr;
  if (cancelled_) return fail(*cancelled_, fmt::format("wait for another channel {}", index));
  gone = std::exchange(line.last, std::exchange(line.now, std::move(line.next)));
  line.expects_next = false;
  Link& last = *line.last;
  Link& now = *line.now;
  lock.unlock();
  gone.reset();
  lane(index).replaced();
  // Tells the source that all of it was read. What becomes of a line that is of no use any more is
  // the source's to notice.
  (void)last.finish();
  return &now;
}

Result<void> PageReceiver::begin_packet(std::uint32_t round) {
  const std::scoped_lock lock(mutex_);
  if (frozen_) return fail(Errc::protocol, "a packet after the last round");
  if (round != round_) {
    return fail(Errc::protocol, fmt::format("a packet of round {} in round {}", round, round_));
  }
  round_begun_ = true;
  return {};
}

Result<void> PageReceiver::freeze() {
  const std::scoped_lock lock(mutex_);
  if (round_begun_) return fail(Errc::protocol, "the last round has not ended");
  frozen_ = true;
  next_line_.notify_all();
  return {};
}

void PageReceiver::withdraw() noexcept {
  std::vector<Link*> links;
  {
    const std::scoped_lock lock(mutex_);
    withdrawn_ = true;  // so that they stay until this ends
    for_each_link([&](Link& link) { links.push_back(&link); });
  }
  for (Link* const link : links) link->withdraw();
  control_.withdraw();
}

Result<void> PageReceiver::arrive() {
  std::unique_lock lock(mutex_);
  const std::uint32_t mine = round_;
  if (++arrived_ < lanes_.size()) {
    round_over_.wait(lock, [&] { return acknowledged_ != mine || cancelled_; });
    if (acknowledged_ != mine) return {};
    return fail(*cancelled_, "wait for the other channels at the end of a round");
  }
  // All others wait above. The round is over before it is acknowledged: the source's answer, a
  // PREPARE perhaps, may be read by another thread before the call that sends the acknowledgement
  // has returned. The others wait until it has: none may mark a suspect while they are told. The
  // lock is not held while writing: cancel() needs it.
  arrived_ = 0;
  round_begun_ = false;
  ++round_;
  lock.unlock();
  FERRY_TRY(acknowledge_round(mine));
  lock.lock();
  acknowledged_ = round_;
  lock.unlock();
  round_over_.notify_all();
  return {};
}

Result<void> PageReceiver::acknowledge_round(std::uint32_t round) {
  if (any_suspect_.load(std::memory_order_relaxed)) {
    wire::Suspects suspects;
    for (RegionId region = 0; region < memory_.regions().size(); ++region) {
      std::uint64_t from = 0;
      while (const auto run = suspect_.next_run(region, from)) {
        suspects.runs.push_back(*run);
        from = run->offset + run->length;
        if (suspects.runs.size() < wire::k_max_runs) continue;
        FERRY_TRY(control_.send(suspects));
        suspects.runs.clear();
      }
    }
    if (!suspects.runs.empty()) FERRY_TRY(control_.send(suspects));
  }
  return control_.send(wire::RoundAck{.round = round});
}

bool PageReceiver::received(const PageRun& run, Arrival arrival) {
  const bool before = received_.test_and_mark(run);
  if (!before) verified_.fetch_add(run.length, std::memory_order_relaxed);
  if (arrival == Arrival::suspect) {
    suspect_units_.fetch_add(units_in(run.length), std::memory_order_relaxed);
    any_suspect_.store(true, std::memory_order_relaxed);
    const std::scoped_lock lock(mutex_);
    suspect_.mark(run);
  } else if (any_suspect_.load(std::memory_order_relaxed)) {
    const std::scoped_lock lock(mutex_);
    suspect_.clear(run);
  }
  return before;
}

PageReceiver::Totals PageReceiver::totals() const {
  Totals totals{.zero_bytes = zero_bytes_.load(std::memory_order_relaxed),
                .resent_units = damaged_units_.load(std::memory_order_relaxed),
                .suspect_units = suspect_units_.load(std::memory_order_relaxed),
                .rounds = 0};
  for (const auto& lane : lanes_) {
    totals.wire_bytes += lane->wire_bytes();
    totals.placed_bytes += lane->placed_bytes();
    totals.packets += lane->packets();
  }
  const std::scoped_lock lock(mutex_);
  totals.rounds = round_;
  return totals;
}

LaneTimes PageReceiver::times() const {
  LaneTimes times;
  for (const auto& lane : lanes_) times += lane->report().times;
  return times;
}

std::vector<LaneReport> PageReceiver::lane_reports() const {
  std::vector<LaneReport> reports;
  for (const auto& lane : lanes_) reports.push_back(lane->report());
  return reports;
}

std::uint64_t PageReceiver::page_faults() const {
  std::uint64_t faults = 0;
  for (const auto& lane : lanes_) faults += lane->page_faults();
  return faults;
}

wire::Transcript PageReceiver::transcript() const {
  wire::Transcript transcript;
  for (const auto& lane : lanes_) transcript.lanes.push_back(lane->transcript());
  return transcript;
}

}  // namespace ferry
