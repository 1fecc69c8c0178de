// Packets made by hand: what an honest source would send, or what no honest one would.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "multifd/lane_transcript.h"
#include "tests/multifd/test_memory.h"
#include "wire/packet.h"

namespace ferry::test {

/// A packet under construction. Its header is always one that decodes: what is wrong with it is
/// for the receiver to find.
class CraftedPacket {
 public:
  explicit CraftedPacket(std::uint64_t sequence, std::uint32_t round = 0,
                         std::uint32_t flags = wire::k_stable) {
    header_.sequence = sequence;
    header_.round = round;
    header_.flags = flags;
  }

  CraftedPacket& data(const PageRun& run, std::span<const std::byte> bytes) {
    const auto length = static_cast<std::uint32_t>(bytes.size());
    header_.runs.push_back({.run = run, .kind = wire::RunKind::raw, .payload_bytes = length});
    header_.payload_bytes += length;
    header_.raw_bytes += length;
    for (std::size_t at = 0; at < bytes.size(); at += k_unit_bytes) {
      header_.checksums.push_back(wire::unit_checksum(
          bytes.subspan(at, std::min<std::size_t>(k_unit_bytes, bytes.size() - at))));
    }
    payload_.insert(payload_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  CraftedPacket& zeros(const PageRun& run) {
    header_.runs.push_back({.run = run, .kind = wire::RunKind::zero});
    return *this;
  }
  /// As if the unit with this checksum was changed on the way.
  CraftedPacket& damage(std::size_t checksum) {
    header_.checksums[checksum] ^= 1;
    return *this;
  }

  /// Says that its payload was placed.
  CraftedPacket& placed() {
    header_.flags |= wire::k_placed;
    return *this;
  }

  /// Adds itself to the account that an honest source keeps.
  const CraftedPacket& record(wire::LaneTranscript& lane) const {
    record_packet(lane, wire::encode(header_).checksum, header_.payload_bytes);
    return *this;
  }

  Bytes header_bytes() const { return wire::encode(header_).bytes; }
  const Bytes& payload() const noexcept { return payload_; }
  /// What is to be put, and where.
  std::vector<std::pair<PageRun, std::span<const std::byte>>> pieces() const {
    std::vector<std::pair<PageRun, std::span<const std::byte>>> pieces;
    std::size_t at = 0;
    for (const wire::WireRun& run : header_.runs) {
      if (run.kind != wire::RunKind::raw) continue;
      pieces.emplace_back(run.run, std::span(payload_).subspan(at, run.payload_bytes));
      at += run.payload_bytes;
    }
    return pieces;
  }
  Bytes bytes() const {
    Bytes all = header_bytes();
    all.insert(all.end(), payload_.begin(), payload_.end());
    return all;
  }

 private:
  wire::PacketHeader header_;
  Bytes payload_;
};

inline CraftedPacket end_of_round(std::uint64_t sequence, std::uint32_t round = 0) {
  return CraftedPacket(sequence, round, wire::k_end_round);
}

}  // namespace ferry::test
