// The header of a packet of pages: bytes <-> values, no I/O. Sizes and offsets:
// docs/wire-format.md.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ferry/memory.h"
#include "ferry/result.h"
#include "wire/limits.h"

namespace ferry::wire {

enum class RunKind : std::uint8_t {
  raw = 0,   ///< its bytes are in the payload
  zero = 1,  ///< all zeros; nothing in the payload
  // Numbers that later versions will speak; version 1 refuses them.
  fill = 2,
  compressed = 3,
  delta = 4,
  base_match = 5,
  opaque = 6,
};

enum class Codec : std::uint8_t { none = 0, zstd = 1 };  ///< version 1 speaks none

/// Flags of a packet: exactly one of stable, live and end_round; resend and state only beside
/// stable; placed only where there is a payload, and never of state. The upper sixteen are
/// critical: an unknown one is refused. An unknown one of the lower is dropped.
enum PacketFlags : std::uint32_t {
  k_stable = 1u << 16,     ///< what was checksummed is what was sent: a mismatch is damage
  k_live = 1u << 17,       ///< the guest may have written in between: a mismatch is a suspect
  k_resend = 1u << 18,     ///< answers a NAK
  k_end_round = 1u << 19,  ///< carries nothing, ends the round on this lane
  k_placed = 1u << 20,     ///< the payload is in its place already, and not on the line
  k_state = 1u << 21,      ///< a piece of device state: the run's region is the section's number
};
inline constexpr std::uint32_t k_known_flags =
    k_stable | k_live | k_resend | k_end_round | k_placed | k_state;

/// A run on its way: not empty, and it begins on a unit.
struct WireRun {
  PageRun run{};
  RunKind kind = RunKind::raw;
  std::uint32_t payload_bytes = 0;  ///< its share of the payload; run.length for raw, 0 for zero
  std::uint32_t parameter = 0;      ///< for kinds that have one; 0
  friend bool operator==(const WireRun&, const WireRun&) = default;
};

/// A packet without its payload. It has at least one run, unless it is an end of round: that has
/// neither runs nor payload. The payload follows on the line: the runs' shares, in order. Of a
/// placed packet nothing follows, and payload_bytes is what was put where the runs say.
/// A packet of state has one run of raw data, a piece at its place in the section.
/// `checksums` has one XXH3-64 for every unit of every run's payload, in order; units are counted
/// anew for each run, so that each checksum belongs to one unit of memory.
struct PacketHeader {
  std::uint64_t sequence = 0;  ///< of the lane, from 0, with no gaps
  std::uint32_t flags = k_stable;
  std::uint32_t round = 0;
  Codec codec = Codec::none;
  std::uint32_t payload_bytes = 0;
  std::uint32_t raw_bytes = 0;  ///< of the payload when decoded
  std::vector<WireRun> runs{};
  std::vector<std::uint64_t> checksums{};
  friend bool operator==(const PacketHeader&, const PacketHeader&) = default;
};

/// What a header is worth in the transcript: its own checksum, over all of it.
struct EncodedHeader {
  std::vector<std::byte> bytes{};
  std::uint64_t checksum = 0;
};
struct DecodedHeader {
  PacketHeader header{};
  std::uint64_t checksum = 0;
};

/// `header` must keep what decode_packet() demands (asserted): payload_bytes and raw_bytes are the
/// sums over the runs, and there is a checksum for every unit.
EncodedHeader encode(const PacketHeader& header);

/// The length of the header (not the payload) whose first k_prologue_bytes are these.
/// Errc::protocol.
Result<std::size_t> packet_header_length(std::span<const std::byte> prologue);

/// From the whole header: its checksum first (Errc::integrity), then every count, sum, flag, kind
/// and alignment (Errc::protocol). Runs are such as some memory could have; whether they lie in
/// this one is GuestMemory::check's to say.
Result<DecodedHeader> decode_packet(std::span<const std::byte> header);

/// XXH3-64 of one unit of payload.
std::uint64_t unit_checksum(std::span<const std::byte> unit) noexcept;

}  // namespace ferry::wire
