// One page channel of the destination: packets become memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "ferry/memory.h"
#include "multifd/lane_clock.h"
#include "multifd/link.h"
#include "wire/packet.h"

namespace ferry {

class PageReceiver;

/// Reads the payload of one packet after another to where it belongs, checks every unit there, asks
/// again for what is damaged. Device state is handed on, once it is whole. Mapped memory is read
/// into directly; memory behind a descriptor goes through a buffer of the lane and pwrite, which
/// costs less than the page faults of a mapping. What the source has placed is there already, and
/// is only checked. One thread at a time uses a lane; its counters may be read by any.
class ReceiveLane {
 public:
  ReceiveLane(std::uint16_t index, PageReceiver& receiver) : receiver_(receiver), index_(index) {}

  /// Takes one packet whose header has just come from `link`. At the end of a round blocks until
  /// all lanes are there (PageReceiver::arrive).
  Result<void> take(std::span<const std::byte> header, Link& link);

  /// From here on its packets come on another channel.
  void replaced() noexcept { replacements_.fetch_add(1, std::memory_order_relaxed); }

  /// When the receiver is frozen.
  wire::LaneTranscript transcript() const { return transcript_; }
  std::uint64_t wire_bytes() const noexcept { return wire_bytes_.load(std::memory_order_relaxed); }
  std::uint64_t placed_bytes() const noexcept {
    return placed_bytes_.load(std::memory_order_relaxed);
  }
  std::uint64_t packets() const noexcept { return packets_.load(std::memory_order_relaxed); }
  std::uint64_t page_faults() const noexcept { return faults_.load(std::memory_order_relaxed); }
  /// Thread-safe.
  LaneClock& clock() noexcept { return clock_; }
  LaneReport report() const;

 private:
  using Unit = std::pair<RegionId, std::uint64_t>;  // a unit's region and offset

  /// A piece of device state among them: with its section's number, which a region's cannot be.
  static Unit of_state(const PageRun& piece) {
    return {wire::k_max_regions + piece.region, piece.offset};
  }

  Result<void> deal_with(const wire::DecodedHeader& packet, Link& link);
  Result<void> admit(const wire::PacketHeader& header) const;
  std::unexpected<Error> refuse(const wire::PacketHeader& header, std::string_view why) const;
  Result<void> read_payload(const wire::PacketHeader& header, Link& link);
  Result<void> find_payload(const wire::PacketHeader& header, const Link& link);
  Result<void> read_state(const wire::PacketHeader& header, Link& link);
  Result<void> settle(const wire::PacketHeader& header);
  Result<void> settle_state(const wire::PacketHeader& header);
  Result<void> settle_zeros(const PageRun& run);
  Result<void> settle_data(const wire::PacketHeader& header, const PageRun& run,
                           std::span<const std::byte> bytes, std::size_t first_checksum);
  Result<void> accept(const PageRun& run, std::span<const std::byte> bytes);
  Result<void> store_unless_mapped(const PageRun& run, std::span<const std::byte> bytes);
  Result<void> damaged(const wire::PacketHeader& header, const PageRun& run);
  Result<void> ask_again(std::uint64_t sequence);
  /// What is good now is not outstanding any more. Was any of it?
  bool repaired(const PageRun& run);

  PageReceiver& receiver_;
  const std::uint16_t index_;
  wire::LaneTranscript transcript_;
  std::atomic<std::uint64_t> wire_bytes_ = 0;
  std::atomic<std::uint64_t> placed_bytes_ = 0;
  std::atomic<std::uint64_t> packets_ = 0;
  std::atomic<std::uint64_t> faults_ = 0;  // pages touched for the first time
  std::atomic<std::uint64_t> damaged_units_ = 0;
  std::atomic<std::uint64_t> replacements_ = 0;
  LaneClock clock_;
  std::chrono::nanoseconds placing_{};  // of the packet at hand
  bool round_ended_ = false;

  std::vector<std::byte> buffer_;         // of what is not read to its place; grows to one payload
  std::vector<std::span<std::byte>> at_;  // where each raw run of the packet is
  std::vector<PageRun> bad_;              // damaged in this packet
  std::map<Unit, unsigned> outstanding_;  // damaged units, and how often they were asked for
};

}  // namespace ferry
