// Runs of memory become packets.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ferry/memory.h"
#include "ferry/report.h"
#include "ferry/result.h"
#include "wire/packet.h"

namespace ferry {

/// Collects one packet: tells zeros from data, and checksums what is to be sent. Mapped memory is
/// sent from where it lies: a checksum costs one pass over it, and it is in the cache when the
/// socket reads it, whereas a copy costs as much as the socket's own. Memory behind a descriptor is
/// read into a staging buffer, its own or one that was lent. One lane's thread uses it.
class PacketBuilder {
 public:
  /// Large, so that sender and receiver seldom wait for each other: on loopback packets of 1 MiB
  /// cost a fifth less CPU than packets of 256 KiB. No larger than a core's second-level cache,
  /// where the socket finds what was checksummed.
  static constexpr std::size_t k_most_bytes = 1024 * 1024;

  PacketBuilder();

  bool empty() const noexcept { return header_.runs.empty(); }
  /// Nothing more fits in: send it.
  bool full() const noexcept;

  /// Takes from the front of `run`, which lies in `region`, as much as fits; returns how many bytes
  /// it took. 0: the packet is full().
  Result<std::uint64_t> add(const MemoryRegion& region, const PageRun& run);

  /// Takes all of a run that is known to read as zeros. False: the packet is full.
  bool add_zeros(const PageRun& run);

  /// From now on mapped memory is copied to the staging buffer, as what has a descriptor is.
  void copy_mapped() noexcept { copies_mapped_ = true; }
  /// Does what is added of this region go to the staging buffer?
  bool stages(const MemoryRegion& region) const noexcept {
    return region.host == nullptr || copies_mapped_;
  }
  /// The staging buffer of this packet, until clear(), in the place of its own: k_piece_bytes at
  /// least. Before any of the packet is staged.
  void lend(std::span<std::byte> staging) noexcept { staging_ = staging; }
  bool has_loan() const noexcept { return staging_.data() != own_staging_.get(); }

  /// The packet as it stands; the caller fills in sequence, round and flags. The payload has a
  /// piece for each raw run, and stays valid until clear().
  wire::PacketHeader& header() noexcept { return header_; }
  std::span<const iovec> payload() const noexcept { return payload_; }
  std::uint64_t zero_bytes() const noexcept { return zero_bytes_; }
  /// Is any of the payload guest memory itself? A guest that runs may write to it after it was
  /// checksummed and before it is sent.
  bool in_place() const noexcept { return in_place_; }
  /// Is all of it? Then it may go on loan.
  bool all_in_place() const noexcept { return in_place_ && staged_ == 0; }
  /// Is any of it mapped memory that was copied?
  bool copied_mapped() const noexcept { return copied_mapped_; }

  /// What adding has cost since the last clear(): reading, looking for zeros, checksums.
  const LaneTimes& spent() const noexcept { return spent_; }

  /// Bytes of payload that a packet should not go beyond, k_most_bytes at most; one piece of 64 KiB
  /// always has room.
  void set_room(std::size_t bytes) noexcept {
    room_ = std::clamp(bytes, k_piece_bytes, k_most_bytes);
  }

  void clear() noexcept;

 private:
  // What one add() looks at: it may fall into as many runs as it has units.
  static constexpr std::size_t k_piece_bytes = 64 * 1024;

  // Of zeros that one packet tells: those that were read took time, and the peer is to hear of it.
  static constexpr std::uint64_t k_most_zero_bytes = 64 * 1024 * 1024;

  bool room_for_runs(std::size_t more) const noexcept;
  void append_zeros(const PageRun& run);
  void append_unit(const PageRun& unit, std::span<const std::byte> bytes);
  Result<std::span<const std::byte>> bytes_of(const MemoryRegion& region, const PageRun& piece);

  wire::PacketHeader header_;
  std::vector<iovec> payload_;
  // Not cleared: a lane that sends mapped memory alone never touches it, and 255 lanes have 255.
  std::unique_ptr<std::byte[]> own_staging_;
  std::span<std::byte> staging_;
  std::size_t staged_ = 0;  // bytes of staging_ that the payload uses
  bool copies_mapped_ = false;
  bool copied_mapped_ = false;  // any of this packet
  bool in_place_ = false;
  std::size_t room_ = k_most_bytes;
  std::uint64_t zero_bytes_ = 0;
  LaneTimes spent_;
};

}  // namespace ferry
