// The frames of a session's control channel: bytes <-> values, no I/O. Who sends which, and when:
// docs/wire-format.md.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ferry/guest.h"
#include "ferry/memory.h"
#include "ferry/result.h"
#include "wire/limits.h"

namespace ferry::wire {

/// source -> destination: the memory that will come. Always the first frame.
struct LayoutFrame {
  Layout layout{};
  friend bool operator==(const LayoutFrame&, const LayoutFrame&) = default;
};
/// destination -> source: there is room for it.
struct LayoutAck {
  friend bool operator==(const LayoutAck&, const LayoutAck&) = default;
};
/// source -> destination: page channels `first` to `first + count - 1` will say Hello.
struct AddChannels {
  std::uint16_t first = 0;
  std::uint16_t count = 0;
  friend bool operator==(const AddChannels&, const AddChannels&) = default;
};
/// destination -> source: they may connect.
struct ChannelsAck {
  std::uint16_t first = 0;
  std::uint16_t count = 0;
  friend bool operator==(const ChannelsAck&, const ChannelsAck&) = default;
};
/// destination -> source: every lane has ended the round, and everything in it is verified or
/// suspect.
struct RoundAck {
  std::uint32_t round = 0;
  friend bool operator==(const RoundAck&, const RoundAck&) = default;
};
/// destination -> source: these runs of a STABLE packet are damaged; send them again on this lane.
/// At least one.
struct Nak {
  std::uint16_t lane = 0;
  std::uint64_t sequence = 0;
  std::vector<PageRun> runs{};
  friend bool operator==(const Nak&, const Nak&) = default;
};
/// destination -> source, before a RoundAck: these runs of LIVE packets changed on the way; they
/// belong to the next round.
struct Suspects {
  std::vector<PageRun> runs{};
  friend bool operator==(const Suspects&, const Suspects&) = default;
};
/// Both ways, each second.
struct Heartbeat {
  enum class Phase : std::uint8_t { setup = 0, pages = 1, switchover = 2, ending = 3 };
  std::uint64_t bytes_verified = 0;  ///< by the destination; 0 from the source
  std::uint64_t lane_wait_micros =
      0;  ///< what all lanes together have waited for bytes (or for work)
  Phase phase = Phase::setup;
  friend bool operator==(const Heartbeat&, const Heartbeat&) = default;
};

/// One lane's account of everything that it carried; both sides must have the same.
struct LaneTranscript {
  std::uint64_t packets = 0;
  std::uint64_t payload_bytes = 0;
  std::uint64_t headers = 0;   ///< chain over the headers' checksums
  std::uint64_t verdicts = 0;  ///< chain over the NAKs
  friend bool operator==(const LaneTranscript&, const LaneTranscript&) = default;
};
struct Transcript {
  std::vector<LaneTranscript> lanes{};  ///< by index
  friend bool operator==(const Transcript&, const Transcript&) = default;
};
using Digest = std::array<std::byte, 16>;  ///< XXH3-128, canonical (big-endian) form

/// source -> destination: the guest is paused and all is sent; make it durable.
struct Prepare {
  Transcript transcript{};
  std::vector<Digest> digests{};  ///< one a region with Verify::full, else none
  friend bool operator==(const Prepare&, const Prepare&) = default;
};
/// destination -> source: all of it is here, verified and durable.
struct Ready {
  Transcript transcript{};
  std::uint64_t units_received = 0;
  std::uint64_t units_suspect = 0;
  friend bool operator==(const Ready&, const Ready&) = default;
};
/// source -> destination: the guest is yours. From here on the source never runs it again.
struct Commit {
  Transcript transcript{};
  OwnerToken token{};
  friend bool operator==(const Commit&, const Commit&) = default;
};
/// destination -> source: it is mine.
struct Started {
  OwnerToken token{};
  friend bool operator==(const Started&, const Started&) = default;
};
/// Either way: the last words of a side that failed. A code that is newer than this side reads as
/// Errc::disconnected: the peer failed, and its text says how.
struct Abort {
  Errc code = Errc::cancelled;
  std::string text{};  ///< for people; encode() cuts it to the limit, decode_control() escapes it
  friend bool operator==(const Abort&, const Abort&) = default;
};
/// source -> destination, between the rounds of a guest that is paused: a section of device state
/// begins.
struct StateSectionFrame {
  std::string name{};  ///< 1 to 255 bytes, no NUL
  std::uint32_t version = 0;
  friend bool operator==(const StateSectionFrame&, const StateSectionFrame&) = default;
};
/// source -> destination: the next piece of it, k_state_piece_bytes long but for the last.
struct StatePiece {
  std::vector<std::byte> bytes{};  ///< at least one
  friend bool operator==(const StatePiece&, const StatePiece&) = default;
};
/// source -> destination: that was the section, whichever way its pieces came.
struct StateEnd {
  std::uint64_t length = 0;
  std::uint64_t checksum = 0;  ///< chain over its pieces
  friend bool operator==(const StateEnd&, const StateEnd&) = default;
};
/// destination -> source: the piece of device state in this packet is good, and kept.
struct StateAck {
  std::uint16_t lane = 0;
  std::uint64_t sequence = 0;
  friend bool operator==(const StateAck&, const StateAck&) = default;
};
/// source -> destination, within a round: another channel will say Hello for this lane, which goes
/// on there where its own one finishes. Answered by a ChannelsAck of this one channel.
struct ReplaceChannel {
  std::uint16_t lane = 0;
  friend bool operator==(const ReplaceChannel&, const ReplaceChannel&) = default;
};
/// destination -> source, before Ready, to be ignored by who does not know it: where the time of
/// all receiving lanes went, in microseconds.
struct LaneTimesFrame {
  std::uint64_t waiting = 0;  ///< for bytes, and for each other
  std::uint64_t copying = 0;  ///< from the socket to memory
  std::uint64_t decrypting = 0;
  std::uint64_t checking = 0;  ///< checksums
  std::uint64_t placing = 0;   ///< into files
  std::uint64_t faults = 0;    ///< a number: pages touched for the first time
  friend bool operator==(const LaneTimesFrame&, const LaneTimesFrame&) = default;
};
/// A frame that this version does not know and may ignore.
struct Unknown {
  std::uint16_t type = 0;
  friend bool operator==(const Unknown&, const Unknown&) = default;
};

using ControlFrame =
    std::variant<LayoutFrame, LayoutAck, AddChannels, ChannelsAck, RoundAck, Nak, Suspects,
                 Heartbeat, Prepare, Ready, Commit, Started, Abort, StateSectionFrame, StatePiece,
                 StateEnd, StateAck, ReplaceChannel, LaneTimesFrame, Unknown>;

/// A frame's type has this bit where a side that does not know it must ignore it; without it,
/// refuse.
inline constexpr std::uint16_t k_optional_frame = 0x8000;

/// The frame must keep what decode_control() demands (asserted). Not for Unknown.
std::vector<std::byte> encode(const ControlFrame& frame);

/// Does a layout keep every rule of the wire: number, names and page sizes of its regions, and
/// their sum? A source asks before it encodes its own. The error's code is `blame`, whose fault it
/// is.
Result<void> check_layout(const Layout& layout, Errc blame);

/// The whole length of the frame whose first k_prologue_bytes are these. Errc::protocol.
Result<std::size_t> control_length(std::span<const std::byte> prologue);

/// From the whole frame: its checksum (Errc::integrity), then every count, length and value
/// (Errc::protocol). Layouts have passed check_layout(); runs are such as some memory could have.
Result<ControlFrame> decode_control(std::span<const std::byte> frame);

/// What a message that begins with these k_prologue_bytes is, for a line that carries both.
/// Errc::protocol where it is neither.
enum class MessageKind { control, packet };
Result<MessageKind> message_kind(std::span<const std::byte> prologue);

/// The name of a frame, for errors and traces: "round-ack".
std::string_view name_of(const ControlFrame& frame) noexcept;

}  // namespace ferry::wire
