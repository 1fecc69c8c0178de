#include "multifd/send_lane.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/iovec_window.h"
#include "loop/thread.h"
#include "multifd/lane_transcript.h"
#include "wire/limits.h"

namespace ferry {
namespace {

std::uint64_t units_of(std::span<const PageRun> runs) noexcept {
  std::uint64_t units = 0;
  for (const PageRun& run : runs) units += units_in(run.length);
  return units;
}

// Of a packet that is encrypted: what was checksummed is to be in the processor's cache still when
// the cipher comes to it, and at the other side what was decrypted when it is checksummed.
constexpr std::size_t k_encrypted_bytes = 256 * 1024;

/// How large a packet may be, at a rate in bytes per second (0: no bound): a lane that sends seldom
/// sends little, so that the rate holds over short times too. A payload that is placed passes no
/// cipher.
std::size_t room_for(std::uint64_t rate, const Link& link) noexcept {
  const bool enciphered = link.info().encrypted && !link.places();
  const std::size_t most = enciphered ? k_encrypted_bytes : PacketBuilder::k_most_bytes;
  if (rate == 0) return most;
  return static_cast<std::size_t>(std::min<std::uint64_t>(rate / 50, most));
}

// On a slow line, too, a packet is to go soon: who watches for pages that stand still sees whole
// packets. So a lane begins with a little, and grows.
constexpr std::size_t k_first_bytes = 64 * 1024;
constexpr std::chrono::milliseconds k_soon{100};
constexpr std::chrono::seconds k_too_late{1};

/// How large the next packet may be when one of at most `room` bytes took so long to go.
std::size_t next_room(std::size_t room, std::chrono::nanoseconds took) noexcept {
  if (took > k_too_late) return std::max(room / 2, k_first_bytes);
  return took < k_soon ? std::min(room * 2, PacketBuilder::k_most_bytes) : room;
}

void insist(ZeroCopy zero_copy, const Link& link) noexcept {
  if (zero_copy == ZeroCopy::on && link.zero_copy()) link.zero_copy()->insist();
}

}  // namespace

SendLane::SendLane(std::uint16_t index, Link& link, const GuestMemory& memory, WorkQueue& work,
                   const LaneOptions& options, std::stop_token unbounded, LaneEvents events)
    : index_(index),
      memory_(memory),
      work_(work),
      options_(options),
      unbounded_(std::move(unbounded)),
      events_(std::move(events)),
      places_(link.places()),
      room_(k_first_bytes),
      link_(&link) {}

SendLane::~SendLane() {
  if (thread_.joinable()) thread_.join();
}

Result<void> SendLane::start() {
  insist(options_.zero_copy, *link_);
  thread_ =
      FERRY_TRY(start_thread(fmt::format("ferry-send-{}", index_).c_str(), [this] { loop(); }));
  return {};
}

void SendLane::end_round() {
  const std::scoped_lock lock(mutex_);
  orders_.push_back({});
}

void SendLane::begin_round(std::uint32_t round, Motion motion) {
  const std::scoped_lock lock(mutex_);
  round_ = round;
  motion_ = motion;
  next_nak_ = transcript_.packets;
  attempts_.clear();
  unanswered_.clear();
}

Result<void> SendLane::resend(const wire::Nak& nak) {
  if (FERRY_TRY(resend_state(nak))) return {};
  bool in_place = false;
  for (const PageRun& run : nak.runs) {
    in_place |= FERRY_TRY(memory_.check(run))->host != nullptr;
  }
  const std::uint64_t units = units_of(nak.runs);
  {
    const std::scoped_lock lock(mutex_);
    if (in_place && mapped_ == Mapped::in_place && motion_ == Motion::running) {
      return fail(Errc::protocol,
                  fmt::format("NAK of packet {} on channel {}: it was LIVE", nak.sequence, index_));
    }
    const unsigned attempt = FERRY_TRY(next_attempt(nak));
    if (units > wire::k_max_damaged_runs - waiting_units_) {
      return fail(Errc::integrity, fmt::format("channel {}: more than {} pages are damaged", index_,
                                               wire::k_max_damaged_runs));
    }
    next_nak_ = nak.sequence + 1;
    waiting_units_ += units;
    record_verdict(transcript_, nak);
    orders_.push_back({.runs = nak.runs, .attempt = attempt});
  }
  work_.poke();
  return {};
}

/// How often what it refuses will have been sent again, with the lock held.
Result<unsigned> SendLane::next_attempt(const wire::Nak& nak) const {
  if (nak.sequence < next_nak_ || nak.sequence >= transcript_.packets || nak.runs.empty()) {
    return fail(Errc::protocol, fmt::format("NAK of packet {} on channel {}: it is not to be "
                                            "refused (any more)",
                                            nak.sequence, index_));
  }
  const auto before = attempts_.find(nak.sequence);
  const unsigned attempt = before == attempts_.end() ? 1 : before->second + 1;
  if (attempt > wire::k_max_resends) {
    return fail(Errc::integrity, fmt::format("channel {}: damaged on the way, and again in {} "
                                             "resends",
                                             index_, wire::k_max_resends));
  }
  return attempt;
}

/// False: what it refuses is no device state.
Result<bool> SendLane::resend_state(const wire::Nak& nak) {
  {
    const std::scoped_lock lock(mutex_);
    const auto refused = unanswered_.find(nak.sequence);
    if (refused == unanswered_.end()) return false;
    const unsigned attempt = FERRY_TRY(next_attempt(nak));
    if (nak.runs != std::vector{refused->second->at()}) {
      return fail(Errc::protocol, fmt::format("NAK of packet {} on channel {}: not of the piece of "
                                              "device state in it",
                                              nak.sequence, index_));
    }
    next_nak_ = nak.sequence + 1;
    record_verdict(transcript_, nak);
    orders_.push_back({.attempt = attempt, .piece = std::move(refused->second)});
    unanswered_.erase(refused);
  }
  work_.poke();
  return true;
}

Result<void> SendLane::state_acknowledged(std::uint64_t sequence) {
  decltype(unanswered_)::node_type kept;  // dropped without the lock
  const std::scoped_lock lock(mutex_);
  kept = unanswered_.extract(sequence);
  if (kept.empty()) {
    return fail(Errc::protocol,
                fmt::format("state-ack of packet {} on channel {}: there is no device "
                            "state in it, or it was answered before",
                            sequence, index_));
  }
  // A receiver answers a lane's packets in their order.
  next_nak_ = std::max(next_nak_, sequence + 1);
  return {};
}

void SendLane::round_acknowledged() {
  std::optional<Clock::time_point> since;
  {
    const std::scoped_lock lock(mutex_);
    since = std::exchange(ended_round_at_, std::nullopt);
    next_nak_ = transcript_.packets;  // all of them are good
  }
  if (since) counters_.clock.add({.receiver = Clock::now() - *since});
}

std::uint64_t SendLane::zero_copy_fallbacks() const noexcept {
  const std::scoped_lock lock(mutex_);
  const ZeroCopyIo* const io = link_->zero_copy();
  return fallbacks_before_ + counters_.placed_copies.load(std::memory_order_relaxed) +
         (io == nullptr ? 0 : io->zero_copy_fallbacks());
}

LaneReport SendLane::report() const {
  LaneReport report{.lane = index_,
                    .wire_bytes = counters_.wire_bytes.load(std::memory_order_relaxed),
                    .placed_bytes = counters_.placed_bytes.load(std::memory_order_relaxed),
                    .packets = transcript().packets,
                    .resent = counters_.resent_units.load(std::memory_order_relaxed),
                    .replacements = counters_.replacements.load(std::memory_order_relaxed),
                    .zero_copy_fallbacks = zero_copy_fallbacks(),
                    .times = counters_.clock.times()};
  // A lane that waits for the receiver has no work, either: it is one and the same time.
  report.times.idle = std::max(report.times.idle - report.times.receiver, {});
  return report;
}

wire::LaneTranscript SendLane::transcript() const {
  const std::scoped_lock lock(mutex_);
  return transcript_;
}

void SendLane::loop() {
  if (auto served = serve(); !served) events_.failed(std::move(served).error());
}

Result<void> SendLane::attach() {
  const auto is_mapped = [](const MemoryRegion& region) { return region.host != nullptr; };
  if (!places_ || !std::ranges::any_of(memory_.regions(), is_mapped)) return {};
  {
    const std::scoped_lock lock(mutex_);
    if (mapped_ == Mapped::copied) return {};  // on a link before this one
  }
  auto attached = link_->attach(memory_);
  if (attached || attached.error().code != Errc::system) return attached;
  packet_.copy_mapped();
  {
    const std::scoped_lock lock(mutex_);
    mapped_ = Mapped::copied;
  }
  if (events_.copies_instead) events_.copies_instead(attached.error());
  return {};
}

Result<void> SendLane::serve() {
  while (true) {
    if (const auto order = next_order()) {
      FERRY_TRY(obey(*order));
      continue;
    }
    auto work = work_.try_pop();
    if (!work) {
      FERRY_TRY(send_packet(0, 0));  // nothing to wait with it for
      work = wait_for_work();
    }
    if (work) {
      FERRY_TRY(add(*work, 0, 0));
    } else if (work_.closed()) {
      return {};
    }
  }
}

std::optional<SendLane::Order> SendLane::next_order() {
  const std::scoped_lock lock(mutex_);
  if (orders_.empty()) return std::nullopt;
  Order order = std::move(orders_.front());
  orders_.pop_front();
  waiting_units_ -= units_of(order.runs);
  return order;
}

std::optional<PageWork> SendLane::wait_for_work() {
  const auto begin = Clock::now();
  auto work = work_.pop_unless([this] {
    const std::scoped_lock lock(mutex_);
    return !orders_.empty();
  });
  const auto waited = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
  counters_.clock.add({.idle = waited});
  counters_.wait_micros.fetch_add(static_cast<std::uint64_t>(waited.count()),
                                  std::memory_order_relaxed);
  return work;
}

Result<void> SendLane::obey(const Order& order) {
  FERRY_TRY(send_packet(0, 0));
  if (order.piece) {
    counters_.resent_units.fetch_add(units_in(order.piece->at().length), std::memory_order_relaxed);
    return send_state(order.piece, order.attempt);
  }
  if (order.runs.empty()) {
    // Settled before and not behind it, and so is what is sent again: a lane at the other side
    // stops to read when its round is over, and may have pinned what others are waiting for.
    if (places_) FERRY_TRY(link_->settle());
    FERRY_TRY(send_packet(wire::k_end_round, 0));
    {
      const std::scoped_lock lock(mutex_);
      ended_round_at_ = Clock::now();
    }
    return link_->flush();  // the peer answers this round anyway: the wait costs nothing
  }
  for (const PageRun& run : order.runs) {
    FERRY_TRY(add({.run = run}, wire::k_resend, order.attempt));
    counters_.resent_units.fetch_add(units_in(run.length), std::memory_order_relaxed);
  }
  return send_packet(wire::k_resend, order.attempt);
}

/// Between two packets, of which the second is to go in this round: so the receiver, which takes
/// what comes on the new link for what follows on the old one, has it before the round is over.
Result<void> SendLane::renew_link() {
  if (!events_.replace || !packet_.empty() || !link_->worn()) return {};
  const auto begin = Clock::now();
  Link* const next = FERRY_TRY(events_.replace(index_));
  counters_.clock.add({.socket = Clock::now() - begin});
  if (next == nullptr) return {};
  {
    const std::scoped_lock lock(mutex_);
    if (const ZeroCopyIo* const io = link_->zero_copy()) {
      fallbacks_before_ += io->zero_copy_fallbacks();
    }
    link_ = next;
  }
  counters_.replacements.fetch_add(1, std::memory_order_relaxed);
  insist(options_.zero_copy, *link_);
  return attach();
}

Result<void> SendLane::add(const PageWork& work, std::uint32_t flags, unsigned attempt) {
  if (work.piece) {
    FERRY_TRY(send_packet(flags, attempt));
    return send_state(work.piece, attempt);
  }
  if (work.content == Content::zeros) {
    FERRY_TRY(renew_link());
    if (packet_.add_zeros(work.run)) return {};
    FERRY_TRY(send_packet(flags, attempt));
    packet_.add_zeros(work.run);
    return {};
  }
  const MemoryRegion& region = *FERRY_TRY(memory_.check(work.run));
  const std::uint64_t rate = options_.bandwidth ? options_.bandwidth->bytes_per_second() : 0;
  for (PageRun rest = work.run; rest.length > 0;) {
    FERRY_TRY(renew_link());
    FERRY_TRY(stage(region));
    packet_.set_room(std::min(room_for(rate, *link_), room_));
    const std::uint64_t taken = FERRY_TRY(packet_.add(region, rest));
    if (packet_.full()) FERRY_TRY(send_packet(flags, attempt));
    rest.offset += taken;
    rest.length -= taken;
  }
  return {};
}

/// What is put from a buffer needs one of the link's, another for each packet.
Result<void> SendLane::stage(const MemoryRegion& region) {
  if (!places_ || packet_.has_loan() || !packet_.stages(region)) return {};
  packet_.lend(FERRY_TRY(link_->staging()));
  return {};
}

/// Gives a packet its round and its place among those of the lane, for good, with the lock held.
wire::EncodedHeader SendLane::number(wire::PacketHeader& header, unsigned attempt) {
  header.round = round_;
  header.sequence = transcript_.packets;
  const wire::EncodedHeader encoded = wire::encode(header);
  record_packet(transcript_, encoded.checksum, header.payload_bytes);
  if (attempt > 0) attempts_[header.sequence] = attempt;
  return encoded;
}

Result<void> SendLane::send_packet(std::uint32_t flags, unsigned attempt) {
  if (packet_.empty() && (flags & wire::k_end_round) == 0) return {};
  wire::PacketHeader& header = packet_.header();

  wire::EncodedHeader encoded;
  {
    const std::scoped_lock lock(mutex_);
    header.flags = flags;
    if (!packet_.empty()) {
      const bool live = packet_.in_place() && motion_ == Motion::running;
      header.flags |= live ? wire::k_live : wire::k_stable;
    }
    if (places_ && header.payload_bytes > 0) header.flags |= wire::k_placed;
    encoded = number(header, attempt);
  }
  // Counted before it goes: the report is made when the peer has answered, which may be before
  // write() has returned.
  counters_.wire_bytes.fetch_add(encoded.bytes.size() + header.payload_bytes,
                                 std::memory_order_relaxed);
  counters_.zero_bytes.fetch_add(packet_.zero_bytes(), std::memory_order_relaxed);
  if ((header.flags & wire::k_placed) != 0) {
    counters_.placed_bytes.fetch_add(header.payload_bytes, std::memory_order_relaxed);
    if (packet_.copied_mapped()) counters_.placed_copies.fetch_add(1, std::memory_order_relaxed);
  }
  FERRY_TRY(put(encoded));
  packet_.clear();
  return {};
}

Result<void> SendLane::put(const wire::EncodedHeader& header) {
  return timed(header.bytes.size() + packet_.header().payload_bytes, packet_.spent(),
               [&] { return write(header); });
}

/// A piece of device state is a packet by itself, and no link places it: it belongs into no memory.
Result<void> SendLane::send_state(const std::shared_ptr<const PackedPiece>& piece,
                                  unsigned attempt) {
  FERRY_TRY(renew_link());
  const auto begin = Clock::now();
  const auto bytes = piece->bytes();
  const auto length = static_cast<std::uint32_t>(bytes.size());
  wire::PacketHeader header{.flags = wire::k_stable | wire::k_state,
                            .payload_bytes = length,
                            .raw_bytes = length,
                            .runs = {{.run = piece->at(), .payload_bytes = length}}};
  if (attempt > 0) header.flags |= wire::k_resend;
  for (std::size_t at = 0; at < bytes.size(); at += k_unit_bytes) {
    const auto unit = bytes.subspan(at, std::min<std::size_t>(k_unit_bytes, bytes.size() - at));
    header.checksums.push_back(wire::unit_checksum(unit));
  }
  const LaneTimes spent{.checksum = Clock::now() - begin};

  wire::EncodedHeader encoded;
  {
    const std::scoped_lock lock(mutex_);
    encoded = number(header, attempt);
    unanswered_.emplace(header.sequence, piece);
  }
  counters_.wire_bytes.fetch_add(encoded.bytes.size() + length, std::memory_order_relaxed);
  const std::array message{piece_of(encoded.bytes), piece_of(bytes)};
  return timed(encoded.bytes.size() + length, spent, [&] { return link_->write(message); });
}

/// Writes, within the bound on bandwidth, and adds to the account what it took.
template <class Write>
Result<void> SendLane::timed(std::size_t bytes, LaneTimes spent, Write write) {
  if (options_.bandwidth) {
    const auto begin = Clock::now();
    options_.bandwidth->acquire(bytes, unbounded_);
    spent.bandwidth = Clock::now() - begin;
  }
  const TimeSpan stretch;
  const auto encrypted_before = encrypting(link_->crypto_clock());
  auto written = write();
  room_ = next_room(room_, stretch.wall());
  spent += stretch.in_channel(encrypting(link_->crypto_clock()) - encrypted_before);
  counters_.clock.add(spent);
  return written;
}

/// Memory of the guest may go on loan; a header and the staging buffer are used again at once,
/// unless the buffer is the link's.
Result<void> SendLane::write(const wire::EncodedHeader& header) {
  std::vector<iovec> message{piece_of(header.bytes)};
  if ((packet_.header().flags & wire::k_placed) != 0) {
    FERRY_TRY(link_->put(packet_.header(), packet_.payload()));
    if ((packet_.header().flags & wire::k_resend) != 0) FERRY_TRY(link_->settle());
    return link_->write(message);
  }
  const bool lend = packet_.all_in_place() && options_.zero_copy != ZeroCopy::off;
  if (lend && link_->zero_copy() && link_->zero_copy()->worthwhile()) {
    return link_->write(message, packet_.payload());
  }
  message.insert(message.end(), packet_.payload().begin(), packet_.payload().end());
  return link_->write(message);
}

}  // namespace ferry
