#include "wire/control.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <unordered_set>
#include <utility>

#include "base/escape.h"
#include "wire/framing.h"

namespace ferry::wire {
namespace {

enum class FrameType : std::uint16_t {
  layout = 1,
  layout_ack = 2,
  add_channels = 3,
  channels_ack = 4,
  round_ack = 5,
  nak = 6,
  suspects = 7,
  heartbeat = 8,
  prepare = 9,
  ready = 10,
  commit = 11,
  started = 12,
  abort = 13,
  state_section = 14,
  state_piece = 15,
  state_end = 16,
  state_ack = 17,
  replace_channel = 18,
  lane_times = k_optional_frame | 1,
};

struct FrameKind {
  FrameType type;
  std::string_view name;
};

/// In the order of ControlFrame's alternatives, but for the last, Unknown.
constexpr std::array k_kinds = {
    FrameKind{FrameType::layout, "layout"},
    FrameKind{FrameType::layout_ack, "layout-ack"},
    FrameKind{FrameType::add_channels, "add-channels"},
    FrameKind{FrameType::channels_ack, "channels-ack"},
    FrameKind{FrameType::round_ack, "round-ack"},
    FrameKind{FrameType::nak, "nak"},
    FrameKind{FrameType::suspects, "suspects"},
    FrameKind{FrameType::heartbeat, "heartbeat"},
    FrameKind{FrameType::prepare, "prepare"},
    FrameKind{FrameType::ready, "ready"},
    FrameKind{FrameType::commit, "commit"},
    FrameKind{FrameType::started, "started"},
    FrameKind{FrameType::abort, "abort"},
    FrameKind{FrameType::state_section, "state-section"},
    FrameKind{FrameType::state_piece, "state-piece"},
    FrameKind{FrameType::state_end, "state-end"},
    FrameKind{FrameType::state_ack, "state-ack"},
    FrameKind{FrameType::replace_channel, "replace-channel"},
    FrameKind{FrameType::lane_times, "lane-times"},
};
static_assert(k_kinds.size() + 1 == std::variant_size_v<ControlFrame>);

/// What an Abort may say: a code's number on the wire is its place here, counted from 1.
constexpr std::array k_abort_codes = {
    Errc::cancelled, Errc::timed_out, Errc::disconnected,   Errc::refused,     Errc::protocol,
    Errc::integrity, Errc::auth,      Errc::unsupported,    Errc::unreachable, Errc::usage,
    Errc::system,    Errc::guest,     Errc::not_converging,
};

constexpr std::size_t k_run_bytes = 4 + 8 + 8;
constexpr std::size_t k_min_region_bytes = 2 + 1 + 8 + 8 + 8;
constexpr std::size_t k_lane_bytes = 4 * 8;

std::unexpected<Error> refuse(FrameType type, std::string_view why) {
  const auto kind = std::ranges::find(k_kinds, type, &FrameKind::type);
  return fail(Errc::protocol, fmt::format("decode control frame {}: {}", kind->name, why));
}

/// The number of things that follow, `bytes_each` at least; within `limit`, and no more than could
/// be in what is left.
Result<std::size_t> read_count(ByteReader& in, FrameType type, std::size_t limit,
                               std::size_t bytes_each) {
  const std::size_t count = in.u16();
  if (count > limit || count > in.remaining() / bytes_each) {
    return refuse(type, fmt::format("{} entries in {} bytes", count, in.remaining()));
  }
  return count;
}

void write_runs(ByteWriter& out, const std::vector<PageRun>& runs) {
  out.u16(static_cast<std::uint16_t>(runs.size()));
  for (const PageRun& run : runs) {
    out.u32(run.region);
    out.u64(run.offset);
    out.u64(run.length);
  }
}

Result<std::vector<PageRun>> read_runs(ByteReader& in, FrameType type, std::size_t limit) {
  std::vector<PageRun> runs(FERRY_TRY(read_count(in, type, limit, k_run_bytes)));
  for (PageRun& run : runs) {
    run.region = in.u32();
    run.offset = in.u64();
    run.length = in.u64();
    if (!plausible(run)) return refuse(type, "a run that no memory has");
  }
  return runs;
}

void write_transcript(ByteWriter& out, const Transcript& transcript) {
  out.u16(static_cast<std::uint16_t>(transcript.lanes.size()));
  for (const LaneTranscript& lane : transcript.lanes) {
    out.u64(lane.packets);
    out.u64(lane.payload_bytes);
    out.u64(lane.headers);
    out.u64(lane.verdicts);
  }
}

Result<Transcript> read_transcript(ByteReader& in, FrameType type) {
  Transcript transcript;
  transcript.lanes.resize(FERRY_TRY(read_count(in, type, k_max_channels, k_lane_bytes)));
  for (LaneTranscript& lane : transcript.lanes) {
    lane.packets = in.u64();
    lane.payload_bytes = in.u64();
    lane.headers = in.u64();
    lane.verdicts = in.u64();
  }
  return transcript;
}

void write_fields(ByteWriter& out, const LayoutFrame& frame) {
  out.u16(static_cast<std::uint16_t>(frame.layout.regions.size()));
  for (const LayoutRegion& region : frame.layout.regions) {
    out.string(region.name);
    out.u64(region.guest_address);
    out.u64(region.page_size);
    out.u64(region.length);
  }
}
void write_fields(ByteWriter&, const LayoutAck&) {}
void write_fields(ByteWriter& out, const AddChannels& frame) {
  out.u16(frame.first);
  out.u16(frame.count);
}
void write_fields(ByteWriter& out, const ChannelsAck& frame) {
  out.u16(frame.first);
  out.u16(frame.count);
}
void write_fields(ByteWriter& out, const RoundAck& frame) { out.u32(frame.round); }
void write_fields(ByteWriter& out, const Nak& frame) {
  out.u16(frame.lane);
  out.u64(frame.sequence);
  write_runs(out, frame.runs);
}
void write_fields(ByteWriter& out, const Suspects& frame) { write_runs(out, frame.runs); }
void write_fields(ByteWriter& out, const Heartbeat& frame) {
  out.u64(frame.bytes_verified);
  out.u64(frame.lane_wait_micros);
  out.u8(static_cast<std::uint8_t>(frame.phase));
}
void write_fields(ByteWriter& out, const Prepare& frame) {
  write_transcript(out, frame.transcript);
  out.u16(static_cast<std::uint16_t>(frame.digests.size()));
  for (const Digest& digest : frame.digests) out.bytes(digest);
}
void write_fields(ByteWriter& out, const Ready& frame) {
  write_transcript(out, frame.transcript);
  out.u64(frame.units_received);
  out.u64(frame.units_suspect);
}
void write_fields(ByteWriter& out, const Commit& frame) {
  write_transcript(out, frame.transcript);
  out.bytes(frame.token.bytes);
}
void write_fields(ByteWriter& out, const Started& frame) { out.bytes(frame.token.bytes); }
void write_fields(ByteWriter& out, const Abort& frame) {
  const auto place = std::ranges::find(k_abort_codes, frame.code) - k_abort_codes.begin();
  out.u16(static_cast<std::uint16_t>(place + 1));
  out.string(cut_text(frame.text, k_max_text_bytes));
}
void write_fields(ByteWriter& out, const StateSectionFrame& frame) {
  out.string(frame.name);
  out.u32(frame.version);
}
void write_fields(ByteWriter& out, const StatePiece& frame) {
  out.u32(static_cast<std::uint32_t>(frame.bytes.size()));
  out.bytes(frame.bytes);
}
void write_fields(ByteWriter& out, const StateEnd& frame) {
  out.u64(frame.length);
  out.u64(frame.checksum);
}
void write_fields(ByteWriter& out, const StateAck& frame) {
  out.u16(frame.lane);
  out.u64(frame.sequence);
}
void write_fields(ByteWriter& out, const ReplaceChannel& frame) { out.u16(frame.lane); }
void write_fields(ByteWriter& out, const LaneTimesFrame& frame) {
  out.u64(frame.waiting);
  out.u64(frame.copying);
  out.u64(frame.decrypting);
  out.u64(frame.checking);
  out.u64(frame.placing);
  out.u64(frame.faults);
}
void write_fields(ByteWriter&, const Unknown&) { assert(false); }

Result<ControlFrame> read_layout(ByteReader& in) {
  LayoutFrame frame;
  frame.layout.regions.resize(
      FERRY_TRY(read_count(in, FrameType::layout, k_max_regions, k_min_region_bytes)));
  for (LayoutRegion& region : frame.layout.regions) {
    region.name = in.string();
    region.guest_address = in.u64();
    region.page_size = in.u64();
    region.length = in.u64();
  }
  if (!in.ok()) return refuse(FrameType::layout, "it ends within a field");
  FERRY_TRY(check_layout(frame.layout, Errc::protocol));
  return frame;
}

template <class Frame>
Result<ControlFrame> read_channels(ByteReader& in, FrameType type) {
  Frame frame;
  frame.first = in.u16();
  frame.count = in.u16();
  if (frame.count == 0 || frame.first > k_max_channels ||
      frame.count > k_max_channels - frame.first) {
    return refuse(type, fmt::format("{} channels from {} on", frame.count, frame.first));
  }
  return frame;
}

Result<ControlFrame> read_nak(ByteReader& in) {
  Nak frame;
  frame.lane = in.u16();
  frame.sequence = in.u64();
  if (frame.lane >= k_max_channels) {
    return refuse(FrameType::nak, fmt::format("lane {}", frame.lane));
  }
  frame.runs = FERRY_TRY(read_runs(in, FrameType::nak, k_max_nak_runs));
  if (frame.runs.empty()) return refuse(FrameType::nak, "no runs");
  return frame;
}

Result<ControlFrame> read_heartbeat(ByteReader& in) {
  Heartbeat frame;
  frame.bytes_verified = in.u64();
  frame.lane_wait_micros = in.u64();
  const std::uint8_t phase = in.u8();
  if (phase > static_cast<std::uint8_t>(Heartbeat::Phase::ending)) {
    return refuse(FrameType::heartbeat, fmt::format("phase {}", phase));
  }
  frame.phase = static_cast<Heartbeat::Phase>(phase);
  return frame;
}

Result<ControlFrame> read_prepare(ByteReader& in) {
  Prepare frame;
  frame.transcript = FERRY_TRY(read_transcript(in, FrameType::prepare));
  frame.digests.resize(
      FERRY_TRY(read_count(in, FrameType::prepare, k_max_regions, sizeof(Digest))));
  for (Digest& digest : frame.digests) digest = in.array<sizeof(Digest)>();
  return frame;
}

Result<ControlFrame> read_ready(ByteReader& in) {
  Ready frame;
  frame.transcript = FERRY_TRY(read_transcript(in, FrameType::ready));
  frame.units_received = in.u64();
  frame.units_suspect = in.u64();
  return frame;
}

Result<ControlFrame> read_commit(ByteReader& in) {
  Commit frame;
  frame.transcript = FERRY_TRY(read_transcript(in, FrameType::commit));
  frame.token.bytes = in.array<16>();
  return frame;
}

Result<ControlFrame> read_abort(ByteReader& in) {
  const std::size_t code = in.u16();
  const std::string text = in.string();
  if (text.size() > k_max_text_bytes) return refuse(FrameType::abort, "a text beyond all measure");
  // A later version may fail in ways that have no name here. None of them is worth losing the text.
  const bool known = code >= 1 && code <= k_abort_codes.size();
  return Abort{known ? k_abort_codes[code - 1] : Errc::disconnected, escaped(text)};
}

Result<ControlFrame> read_state_section(ByteReader& in) {
  StateSectionFrame frame;
  frame.name = in.string();
  frame.version = in.u32();
  if (!in.ok() || frame.name.empty() || frame.name.size() > k_max_name_bytes ||
      frame.name.find('\0') != std::string::npos) {
    return refuse(FrameType::state_section, "its name is empty, too long, or has a NUL");
  }
  return frame;
}

Result<ControlFrame> read_state_piece(ByteReader& in) {
  const std::size_t length = in.u32();
  if (length == 0 || length > k_max_state_piece_bytes || length > in.remaining()) {
    return refuse(FrameType::state_piece, fmt::format("{} bytes", length));
  }
  const auto bytes = in.bytes(length);
  return StatePiece{{bytes.begin(), bytes.end()}};
}

Result<ControlFrame> read_state_end(ByteReader& in) {
  StateEnd frame;
  frame.length = in.u64();
  frame.checksum = in.u64();
  return frame;
}

Result<ControlFrame> read_state_ack(ByteReader& in) {
  StateAck frame;
  frame.lane = in.u16();
  frame.sequence = in.u64();
  if (frame.lane >= k_max_channels) {
    return refuse(FrameType::state_ack, fmt::format("lane {}", frame.lane));
  }
  return frame;
}

Result<ControlFrame> read_replace_channel(ByteReader& in) {
  const ReplaceChannel frame{in.u16()};
  if (frame.lane < k_max_channels) return frame;
  return refuse(FrameType::replace_channel, fmt::format("lane {}", frame.lane));
}

Result<ControlFrame> read_lane_times(ByteReader& in) {
  LaneTimesFrame frame;
  frame.waiting = in.u64();
  frame.copying = in.u64();
  frame.decrypting = in.u64();
  frame.checking = in.u64();
  frame.placing = in.u64();
  frame.faults = in.u64();
  return frame;
}

Result<ControlFrame> read_unknown(ByteReader& in, std::uint16_t type) {
  if ((type & k_optional_frame) == 0) {
    return fail(Errc::protocol, fmt::format("decode control frame: unknown type {}", type));
  }
  in.bytes(in.remaining());
  return Unknown{type};
}

Result<ControlFrame> read_fields(ByteReader& in, std::uint16_t type) {
  switch (static_cast<FrameType>(type)) {
    case FrameType::layout:
      return read_layout(in);
    case FrameType::layout_ack:
      return LayoutAck{};
    case FrameType::add_channels:
      return read_channels<AddChannels>(in, FrameType::add_channels);
    case FrameType::channels_ack:
      return read_channels<ChannelsAck>(in, FrameType::channels_ack);
    case FrameType::round_ack:
      return RoundAck{in.u32()};
    case FrameType::nak:
      return read_nak(in);
    case FrameType::suspects:
      return Suspects{FERRY_TRY(read_runs(in, FrameType::suspects, k_max_runs))};
    case FrameType::heartbeat:
      return read_heartbeat(in);
    case FrameType::prepare:
      return read_prepare(in);
    case FrameType::ready:
      return read_ready(in);
    case FrameType::commit:
      return read_commit(in);
    case FrameType::started:
      return Started{{in.array<16>()}};
    case FrameType::abort:
      return read_abort(in);
    case FrameType::state_section:
      return read_state_section(in);
    case FrameType::state_piece:
      return read_state_piece(in);
    case FrameType::state_end:
      return read_state_end(in);
    case FrameType::state_ack:
      return read_state_ack(in);
    case FrameType::replace_channel:
      return read_replace_channel(in);
    case FrameType::lane_times:
      return read_lane_times(in);
  }
  return read_unknown(in, type);
}

/// What is wrong with a region by itself; empty where nothing is.
std::string_view fault_of(const LayoutRegion& region) noexcept {
  if (region.name.empty() || region.name.size() > k_max_name_bytes ||
      region.name.find('\0') != std::string::npos) {
    return "its name is empty, too long, or has a NUL";
  }
  if (!std::has_single_bit(region.page_size) || region.page_size < k_unit_bytes ||
      region.page_size > k_max_page_bytes) {
    return "its page size is no power of two from 4096 to 1 GiB";
  }
  if (region.length > 0 && region.length - 1 > UINT64_MAX - region.guest_address) {
    return "it ends beyond the guest's addresses";
  }
  return {};
}

}  // namespace

std::vector<std::byte> encode(const ControlFrame& frame) {
  assert(!std::holds_alternative<Unknown>(frame));
  std::vector<std::byte> message;
  MessageWriter out(message, k_control_form);
  out.u16(static_cast<std::uint16_t>(k_kinds[frame.index()].type));
  std::visit([&out](const auto& value) { write_fields(out, value); }, frame);
  out.seal();
  assert(decode_control(message));
  return message;
}

Result<void> check_layout(const Layout& layout, Errc blame) {
  if (layout.regions.size() > k_max_regions) {
    return fail(blame, fmt::format("memory layout: {} regions, and {} is the most",
                                   layout.regions.size(), k_max_regions));
  }
  std::unordered_set<std::string_view> names;
  std::uint64_t room = k_max_memory_bytes;
  for (const LayoutRegion& region : layout.regions) {
    const auto refuse_region = [&](std::string_view why) {
      return fail(blame, fmt::format("memory layout: region {}: {}", in_quotes(region.name), why));
    };
    if (const auto fault = fault_of(region); !fault.empty()) return refuse_region(fault);
    if (!names.insert(region.name).second) return refuse_region("its name comes twice");
    if (region.length > room) return refuse_region("more memory than 16 TiB in all");
    room -= region.length;
  }
  return {};
}

Result<std::size_t> control_length(std::span<const std::byte> prologue) {
  return stated_length(prologue, k_control_form);
}

Result<ControlFrame> decode_control(std::span<const std::byte> frame) {
  ByteReader in = FERRY_TRY(open_message(frame, k_control_form)).fields;
  ControlFrame value = FERRY_TRY(read_fields(in, in.u16()));
  FERRY_TRY(close_message(in, k_control_form));
  return value;
}

Result<MessageKind> message_kind(std::span<const std::byte> prologue) {
  const std::uint32_t magic = ByteReader(prologue).u32();
  if (magic == k_control_form.magic) return MessageKind::control;
  if (magic == k_packet_form.magic) return MessageKind::packet;
  return fail(Errc::protocol, "decode message: neither a control frame nor a packet");
}

std::string_view name_of(const ControlFrame& frame) noexcept {
  return frame.index() < k_kinds.size() ? k_kinds[frame.index()].name : "unknown";
}

}  // namespace ferry::wire
