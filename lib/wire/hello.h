// The first words on every channel. Sizes and offsets: docs/wire-format.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ferry/result.h"
#include "wire/limits.h"

namespace ferry::wire {

using SessionId = std::array<std::byte, 16>;

enum class Role : std::uint16_t {
  control = 1,  ///< frames of the session; one, and the first
  page = 2,     ///< packets
  urgent = 3,   ///< pages that a fault waits for (postcopy); none speaks it yet
  solo = 4,     ///< frames and packets on one duplex channel
};

/// Feature bits. An unknown critical bit is refused; an unknown optional bit is ignored. The source
/// says on its control (or solo) channel what it may want to use, and the destination which of that
/// it knows.
inline constexpr std::uint32_t k_known_critical_features = 0;
enum OptionalFeatures : std::uint32_t {
  k_device_state = 1u << 0,       ///< state-section, state-piece, state-end
  k_state_on_lanes = 1u << 1,     ///< packets with the flag state; state-ack
  k_replaced_channels = 1u << 2,  ///< replace-channel
};
inline constexpr std::uint32_t k_known_optional_features =
    k_device_state | k_state_on_lanes | k_replaced_channels;

/// What the side that connected says first.
struct Hello {
  std::uint16_t version_min = k_version_min;
  std::uint16_t version_max = k_version_max;
  SessionId session{};
  Role role = Role::control;
  std::uint16_t index = 0;    ///< of a page channel: its lane, 0 to 254
  std::uint32_t path_id = 0;  ///< which network path, where there are several
  std::uint32_t critical_features = 0;
  std::uint32_t optional_features = 0;
  std::array<std::byte, 32> proof{};  ///< binds the channel to its session under TLS; zero without
  friend bool operator==(const Hello&, const Hello&) = default;
};

/// What only the two sides of a session know, once the destination has said it under TLS: the
/// proofs of page channels are made with it.
using Secret = std::array<std::byte, 32>;

/// The answer. `accepted` opens the channel; with any other verdict, known or not, `reason` says
/// why not, and nothing follows.
struct HelloAck {
  enum class Verdict : std::uint16_t {
    accepted = 0,
    version = 1,      ///< no version in common
    busy = 2,         ///< another session is in progress
    unannounced = 3,  ///< no such channel was announced, or it is there already
    stranger = 4,     ///< no such session
    feature = 5,      ///< an unknown critical feature
    malformed = 6,    ///< not a Hello
    ended = 7,        ///< the session is over
  };
  Verdict verdict = Verdict::accepted;
  std::uint16_t version =
      k_version_max;  ///< chosen; when refused for its version, the newest we have
  SessionId session{};
  std::uint32_t critical_features = 0;
  std::uint32_t optional_features = 0;
  std::string
      reason{};  ///< for people; encode() cuts it to the limit, decode_hello_ack() escapes it
  std::optional<Secret> secret{};  ///< an extension; to an encrypted control channel alone
  friend bool operator==(const HelloAck&, const HelloAck&) = default;
};

/// TLV extensions follow the fixed part in both. Version 1 defines one, of HelloAck. An unknown one
/// is ignored, unless its type has the critical bit: then decoding is Errc::unsupported, and the
/// answer is Verdict::feature.
inline constexpr std::uint16_t k_critical_extension = 0x8000;
inline constexpr std::uint16_t k_secret_extension = 0x0010;  ///< HelloAck::secret

std::vector<std::byte> encode(const Hello& hello);
std::vector<std::byte> encode(const HelloAck& ack);

/// The whole length of a message whose first k_prologue_bytes are these. Errc::protocol where the
/// magic or the length is not one of a Hello (HelloAck).
Result<std::size_t> hello_length(std::span<const std::byte> prologue);
Result<std::size_t> hello_ack_length(std::span<const std::byte> prologue);

/// From the whole message. Errc::integrity where its checksum differs, Errc::protocol where it is
/// malformed. An unknown role, version, feature or verdict decodes: it is the session's to refuse,
/// so that the peer hears why.
Result<Hello> decode_hello(std::span<const std::byte> message);
Result<HelloAck> decode_hello_ack(std::span<const std::byte> message);

}  // namespace ferry::wire
