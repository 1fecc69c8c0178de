// What two RdmaLines say to each other: the greeting of a connection, and the messages that carry
// a channel's bytes and the rights to write. Bytes <-> values, and the bounds of all of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ferry/memory.h"
#include "ferry/result.h"

namespace ferry {

/// Goes with the question and with the answer, as the connection manager's private data: what the
/// one who says it has room for.
struct RdmaGreeting {
  static constexpr std::size_t k_bytes = 20;
  static constexpr std::uint16_t k_version = 1;
  static constexpr std::uint16_t k_most_buffers = 1024;
  static constexpr std::uint32_t k_most_message_bytes = 1 << 20;

  std::uint16_t version = k_version;
  std::uint16_t buffers = 0;        ///< for messages that take a credit; k_spare_buffers more
  std::uint32_t message_bytes = 0;  ///< the longest message, with its header
  friend bool operator==(const RdmaGreeting&, const RdmaGreeting&) = default;
};

/// Buffers beside those that credits stand for: for one finish, and for as many words of nothing
/// but credits as can be under way before their reader must have read.
inline constexpr std::uint16_t k_spare_buffers = 4;

std::array<std::byte, RdmaGreeting::k_bytes> encode(const RdmaGreeting& greeting);
/// The manager may pad it. Errc::protocol, Errc::unsupported for another version.
Result<RdmaGreeting> decode_greeting(std::span<const std::byte> from);

/// What a message is.
enum class RdmaWord : std::uint8_t {
  data = 1,     ///< bytes of the channel
  credit = 2,   ///< nothing but its header. Takes no credit
  finish = 3,   ///< the last. Takes no credit
  admit = 4,    ///< from the target: grants may come, and how
  grant = 5,    ///< from the target: this may be written to
  request = 6,  ///< from the source: where is this?
  revoke = 7,   ///< from the target: no longer
  revoked = 8,  ///< from the source: all that was written there has ended, and no more will be
};

/// In front of each message.
struct RdmaHeader {
  static constexpr std::size_t k_bytes = 8;

  RdmaWord word = RdmaWord::data;
  std::uint16_t credits = 0;  ///< buffers that are posted again since the last message
  std::uint32_t length = 0;   ///< of what follows
};

void encode(const RdmaHeader& header, std::byte* at) noexcept;
/// Errc::protocol: no such word, or another length than came.
Result<RdmaHeader> decode_header(std::span<const std::byte> message);

/// How the target's memory is granted.
struct RdmaAdmission {
  static constexpr std::size_t k_bytes = 12;
  static constexpr std::uint32_t k_most_regions = 1024;
  static constexpr std::uint64_t k_least_chunk = k_unit_bytes;

  std::uint32_t regions = 0;
  /// 0: each region as a whole, unasked. Else in chunks of so many bytes, a power of two, asked
  /// for; a region's last one may be shorter.
  std::uint64_t chunk_bytes = 0;
};

/// A stretch of a region, where the target's device has it. A request, a revoke and a revoked are
/// the same without address and key.
struct RdmaGrant {
  static constexpr std::size_t k_bytes = 32;

  PageRun run{};
  std::uint64_t address = 0;
  std::uint32_t key = 0;
};

std::vector<std::byte> encode(const RdmaAdmission& admission);
std::vector<std::byte> encode(const RdmaGrant& grant);
Result<RdmaAdmission> decode_admission(std::span<const std::byte> from);
/// That it lies where it may is judged by who knows the memory. Errc::protocol.
Result<RdmaGrant> decode_grant(std::span<const std::byte> from);

}  // namespace ferry
