#include "multifd/receive_lane.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/iovec_window.h"
#include "memory/region_io.h"
#include "multifd/lane_transcript.h"
#include "multifd/page_receiver.h"
#include "wire/limits.h"

namespace ferry {
namespace {

/// Extends the last run of `runs` by `unit` where it follows.
void append(std::vector<PageRun>& runs, const PageRun& unit) {
  if (!runs.empty() && runs.back().region == unit.region &&
      runs.back().offset + runs.back().length == unit.offset) {
    runs.back().length += unit.length;
  } else {
    runs.push_back(unit);
  }
}

}  // namespace

Result<void> ReceiveLane::take(std::span<const std::byte> bytes, Link& link) {
  const wire::DecodedHeader packet = FERRY_TRY(wire::decode_packet(bytes));
  const wire::PacketHeader& header = packet.header;
  FERRY_TRY(receiver_.begin_packet(header.round));
  FERRY_TRY(deal_with(packet, link));
  packets_.fetch_add(1, std::memory_order_relaxed);
  wire_bytes_.fetch_add(bytes.size() + header.payload_bytes, std::memory_order_relaxed);

  if ((header.flags & wire::k_end_round) != 0) round_ended_ = true;
  if (!round_ended_ || !outstanding_.empty()) return {};
  round_ended_ = false;
  const auto begin = Clock::now();
  auto arrived = receiver_.arrive();
  clock_.add({.idle = Clock::now() - begin});
  return arrived;
}

Result<void> ReceiveLane::deal_with(const wire::DecodedHeader& packet, Link& link) {
  FERRY_TRY(admit(packet.header));
  const bool is_state = (packet.header.flags & wire::k_state) != 0;
  const TimeSpan reading;
  const auto decrypted_before = decrypting(link.crypto_clock());
  if ((packet.header.flags & wire::k_placed) != 0) {
    FERRY_TRY(find_payload(packet.header, link));
  } else if (is_state) {
    FERRY_TRY(read_state(packet.header, link));
  } else {
    FERRY_TRY(read_payload(packet.header, link));
  }
  LaneTimes spent = reading.in_channel(decrypting(link.crypto_clock()) - decrypted_before);
  faults_.fetch_add(reading.page_faults(), std::memory_order_relaxed);
  record_packet(transcript_, packet.checksum, packet.header.payload_bytes);

  placing_ = {};
  const auto begin = Clock::now();
  auto settled = is_state ? settle_state(packet.header) : settle(packet.header);
  spent.checksum = Clock::now() - begin - placing_;
  spent.place = placing_;
  clock_.add(spent);
  return settled;
}

LaneReport ReceiveLane::report() const {
  return {.lane = index_,
          .wire_bytes = wire_bytes(),
          .placed_bytes = placed_bytes(),
          .packets = packets(),
          .resent = damaged_units_.load(std::memory_order_relaxed),
          .replacements = replacements_.load(std::memory_order_relaxed),
          .times = clock_.times()};
}

std::unexpected<Error> ReceiveLane::refuse(const wire::PacketHeader& header,
                                           std::string_view why) const {
  return fail(Errc::protocol,
              fmt::format("packet {} on channel {}: {}", header.sequence, index_, why));
}

Result<void> ReceiveLane::admit(const wire::PacketHeader& header) const {
  if (header.sequence != transcript_.packets) {
    return refuse(header, fmt::format("expected sequence {}", transcript_.packets));
  }
  if (round_ended_ && (header.flags & wire::k_resend) == 0) {
    return refuse(header, "the round has ended on this channel");
  }
  if ((header.flags & wire::k_state) != 0) {
    if (receiver_.keep_state_) return {};
    return refuse(header, "device state, where none is taken");
  }
  for (const wire::WireRun& run : header.runs) (void)FERRY_TRY(receiver_.memory_.check(run.run));
  return {};
}

Result<void> ReceiveLane::read_state(const wire::PacketHeader& header, Link& link) {
  if (buffer_.size() < header.payload_bytes) buffer_.resize(header.payload_bytes);
  const iovec into = piece_of(std::span(buffer_).first(header.payload_bytes));
  return link.read_payload({&into, 1});
}

/// One damaged unit, and all of the piece comes again: it is kept as a whole, or not at all.
Result<void> ReceiveLane::settle_state(const wire::PacketHeader& header) {
  const PageRun& at = header.runs.front().run;
  const auto bytes = std::span<const std::byte>(buffer_).first(header.payload_bytes);
  auto checksum = header.checksums.begin();
  for (std::size_t unit = 0; unit < bytes.size(); unit += k_unit_bytes) {
    const auto length = std::min<std::size_t>(k_unit_bytes, bytes.size() - unit);
    if (wire::unit_checksum(bytes.subspan(unit, length)) == *checksum++) continue;
    bad_.clear();
    FERRY_TRY(damaged(header, at));
    return ask_again(header.sequence);
  }
  const auto begin = Clock::now();
  FERRY_TRY(receiver_.keep_state_(at.region, at.offset, bytes));
  placing_ += Clock::now() - begin;
  outstanding_.erase(of_state(at));
  return receiver_.control_.send(wire::StateAck{.lane = index_, .sequence = header.sequence});
}

Result<void> ReceiveLane::read_payload(const wire::PacketHeader& header, Link& link) {
  at_.clear();
  if (header.payload_bytes == 0) return {};
  std::vector<iovec> into;
  std::size_t buffered = 0;
  if (buffer_.size() < header.payload_bytes) buffer_.resize(header.payload_bytes);
  for (const wire::WireRun& run : header.runs) {
    if (run.kind != wire::RunKind::raw) continue;
    const MemoryRegion& region = *FERRY_TRY(receiver_.memory_.check(run.run));
    std::span<std::byte> place;
    if (region.host != nullptr) {
      place = FERRY_TRY(receiver_.memory_.at(run.run));
    } else {
      place = std::span(buffer_).subspan(buffered, run.payload_bytes);
      buffered += run.payload_bytes;
    }
    at_.push_back(place);
    into.push_back({place.data(), place.size()});
  }
  return link.read_payload(into);
}

/// The channel promises that what was put before the header was written is in memory by now.
Result<void> ReceiveLane::find_payload(const wire::PacketHeader& header, const Link& link) {
  if (!link.admitted()) return refuse(header, "it was placed, where nobody was let to");
  at_.clear();
  for (const wire::WireRun& run : header.runs) {
    if (run.kind != wire::RunKind::raw) continue;
    if (FERRY_TRY(receiver_.memory_.check(run.run))->host == nullptr) {
      return refuse(header, "it was placed in a region that is not mapped");
    }
    at_.push_back(FERRY_TRY(receiver_.memory_.at(run.run)));
  }
  placed_bytes_.fetch_add(header.payload_bytes, std::memory_order_relaxed);
  return {};
}

Result<void> ReceiveLane::settle(const wire::PacketHeader& header) {
  std::size_t checksum = 0;
  std::size_t data_run = 0;
  bad_.clear();
  for (const wire::WireRun& run : header.runs) {
    if (run.kind == wire::RunKind::zero) {
      FERRY_TRY(settle_zeros(run.run));
    } else {
      FERRY_TRY(settle_data(header, run.run, at_[data_run++], checksum));
      checksum += units_in(run.payload_bytes);
    }
  }
  return bad_.empty() ? Result<void>{} : ask_again(header.sequence);
}

Result<void> ReceiveLane::settle_zeros(const PageRun& run) {
  const MemoryRegion& region = *FERRY_TRY(receiver_.memory_.check(run));
  receiver_.zero_bytes_.fetch_add(run.length, std::memory_order_relaxed);
  // Fresh memory reads as zeros. Only what was written to must be cleared: what arrived before, and
  // what was damaged, for it was read to its place.
  const bool damaged = repaired(run);
  const bool arrived = receiver_.received(run, PageReceiver::Arrival::good);
  return damaged || arrived ? clear(region, run) : Result<void>{};
}

Result<void> ReceiveLane::settle_data(const wire::PacketHeader& header, const PageRun& run,
                                      std::span<const std::byte> bytes,
                                      std::size_t first_checksum) {
  const bool live = (header.flags & wire::k_live) != 0;
  // Good stretches between bad units are accepted as a whole: one pwrite, one mark.
  std::uint64_t good_from = 0;
  const auto accept_until = [&](std::uint64_t end) -> Result<void> {
    if (end == good_from) return {};
    return accept({run.region, run.offset + good_from, end - good_from},
                  bytes.subspan(good_from, end - good_from));
  };
  for (std::uint64_t at = 0; at < run.length; at += k_unit_bytes) {
    const auto unit = bytes.subspan(at, std::min(k_unit_bytes, run.length - at));
    if (wire::unit_checksum(unit) == header.checksums[first_checksum++]) continue;

    FERRY_TRY(accept_until(at));
    good_from = at + unit.size();
    const PageRun where{run.region, run.offset + at, unit.size()};
    if (live) {
      FERRY_TRY(store_unless_mapped(where, unit));
      receiver_.received(where, PageReceiver::Arrival::suspect);
    } else {
      FERRY_TRY(damaged(header, where));
    }
  }
  return accept_until(run.length);
}

Result<void> ReceiveLane::accept(const PageRun& run, std::span<const std::byte> bytes) {
  FERRY_TRY(store_unless_mapped(run, bytes));
  receiver_.received(run, PageReceiver::Arrival::good);
  repaired(run);
  return {};
}

Result<void> ReceiveLane::store_unless_mapped(const PageRun& run,
                                              std::span<const std::byte> bytes) {
  const MemoryRegion& region = *FERRY_TRY(receiver_.memory_.check(run));
  if (region.host != nullptr) return {};  // it was read to its place
  const auto begin = Clock::now();
  auto stored = store(region, run.offset, bytes);
  placing_ += Clock::now() - begin;
  return stored;
}

/// A unit of memory, or a piece of device state.
Result<void> ReceiveLane::damaged(const wire::PacketHeader& header, const PageRun& run) {
  const bool is_resend = (header.flags & wire::k_resend) != 0;
  const bool is_state = (header.flags & wire::k_state) != 0;
  const auto integrity = [&](std::string why) {
    const std::string what =
        is_state ? fmt::format("section {} of device state", run.region)
                 : fmt::format("'{}'", receiver_.memory_.regions()[run.region].name);
    return fail(Errc::integrity,
                fmt::format("receive {} at offset {:#x}: {}", what, run.offset, why));
  };
  const Unit key = is_state ? of_state(run) : Unit{run.region, run.offset};
  const auto [entry, fresh] = outstanding_.try_emplace(key, 0);
  if (fresh == is_resend)
    return integrity("its checksum differs, and what was sent is not what was asked for");
  if (entry->second == wire::k_max_resends) {
    return integrity(fmt::format("its checksum still differs after {} resends", entry->second));
  }
  if (outstanding_.size() > wire::k_max_damaged_runs) {
    return integrity(
        fmt::format("more than {} pages are damaged on this channel", wire::k_max_damaged_runs));
  }
  ++entry->second;
  append(bad_, run);
  receiver_.damaged_units_.fetch_add(units_in(run.length), std::memory_order_relaxed);
  damaged_units_.fetch_add(units_in(run.length), std::memory_order_relaxed);
  return {};
}

Result<void> ReceiveLane::ask_again(std::uint64_t sequence) {
  const wire::Nak nak{.lane = index_, .sequence = sequence, .runs = bad_};
  record_verdict(transcript_, nak);
  return receiver_.control_.send(nak);
}

bool ReceiveLane::repaired(const PageRun& run) {
  if (outstanding_.empty()) return false;
  const auto first = outstanding_.lower_bound({run.region, run.offset});
  auto last = first;
  while (last != outstanding_.end() && last->first.first == run.region &&
         last->first.second - run.offset < run.length) {
    ++last;
  }
  const bool any = first != last;
  outstanding_.erase(first, last);
  return any;
}

}  // namespace ferry
