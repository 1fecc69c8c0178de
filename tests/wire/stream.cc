#include "tests/wire/stream.h"

#include <fmt/format.h>

#include "base/checksum.h"
#include "base/escape.h"
#include "tests/wire/forge.h"
#include "wire/control.h"
#include "wire/framing.h"
#include "wire/hello.h"
#include "wire/packet.h"

namespace ferry::wire {
namespace {

std::string words(const PageRun& run) {
  return fmt::format("{}:{:#x}+{}", run.region, run.offset, run.length);
}
std::string words(const std::vector<PageRun>& runs) {
  std::string text;
  for (const PageRun& run : runs) text += " " + words(run);
  return text;
}
std::string words(const Transcript& transcript) {
  std::string text;
  for (const LaneTranscript& lane : transcript.lanes) {
    text += fmt::format(" lane(packets {} payload {} headers {:016x} verdicts {:016x})",
                        lane.packets, lane.payload_bytes, lane.headers, lane.verdicts);
  }
  return text;
}

std::string words(const Hello& hello) {
  return fmt::format(
      "hello versions {}-{} session {} role {} index {} path {} critical {:#x} optional {:#x} "
      "proof {}",
      hello.version_min, hello.version_max, to_hex(hello.session),
      static_cast<unsigned>(hello.role), hello.index, hello.path_id, hello.critical_features,
      hello.optional_features, to_hex(hello.proof));
}
std::string words(const HelloAck& ack) {
  return fmt::format("hello-ack verdict {} version {} session {} critical {:#x} optional {:#x} {}",
                     static_cast<unsigned>(ack.verdict), ack.version, to_hex(ack.session),
                     ack.critical_features, ack.optional_features, in_quotes(ack.reason));
}

std::string words(const PacketHeader& header) {
  std::string text = fmt::format(
      "packet {} flags {:#x} round {} codec {} payload {} raw {}", header.sequence, header.flags,
      header.round, static_cast<unsigned>(header.codec), header.payload_bytes, header.raw_bytes);
  for (const WireRun& run : header.runs) {
    text += fmt::format(" run({} kind {} payload {} parameter {})", words(run.run),
                        static_cast<unsigned>(run.kind), run.payload_bytes, run.parameter);
  }
  for (const std::uint64_t checksum : header.checksums) text += fmt::format(" {:016x}", checksum);
  return text;
}

/// The fields of each kind of frame.
struct FrameWords {
  std::string operator()(const LayoutFrame& frame) const {
    std::string text;
    for (const LayoutRegion& region : frame.layout.regions) {
      text += fmt::format(" region({} at {:#x} pages of {} length {})", in_quotes(region.name),
                          region.guest_address, region.page_size, region.length);
    }
    return text;
  }
  std::string operator()(const LayoutAck&) const { return ""; }
  std::string operator()(const AddChannels& frame) const {
    return fmt::format(" first {} count {}", frame.first, frame.count);
  }
  std::string operator()(const ChannelsAck& frame) const {
    return fmt::format(" first {} count {}", frame.first, frame.count);
  }
  std::string operator()(const RoundAck& frame) const { return fmt::format(" {}", frame.round); }
  std::string operator()(const Nak& frame) const {
    return fmt::format(" lane {} sequence {}{}", frame.lane, frame.sequence, words(frame.runs));
  }
  std::string operator()(const StateSectionFrame& frame) const {
    return fmt::format(" {} version {}", in_quotes(frame.name), frame.version);
  }
  std::string operator()(const StatePiece& frame) const {
    return fmt::format(" {} bytes {:016x}", frame.bytes.size(), xxh3_64(frame.bytes));
  }
  std::string operator()(const StateEnd& frame) const {
    return fmt::format(" length {} checksum {:016x}", frame.length, frame.checksum);
  }
  std::string operator()(const ReplaceChannel& frame) const {
    return fmt::format(" lane {}", frame.lane);
  }
  std::string operator()(const StateAck& frame) const {
    return fmt::format(" lane {} sequence {}", frame.lane, frame.sequence);
  }
  std::string operator()(const LaneTimesFrame& frame) const {
    return fmt::format(" waiting {} copying {} decrypting {} checking {} placing {} faults {}",
                       frame.waiting, frame.copying, frame.decrypting, frame.checking,
                       frame.placing, frame.faults);
  }
  std::string operator()(const Suspects& frame) const { return words(frame.runs); }
  std::string operator()(const Heartbeat& frame) const {
    return fmt::format(" verified {} waited {} phase {}", frame.bytes_verified,
                       frame.lane_wait_micros, static_cast<unsigned>(frame.phase));
  }
  std::string operator()(const Prepare& frame) const {
    std::string text = words(frame.transcript);
    for (const Digest& digest : frame.digests) text += " digest " + to_hex(digest);
    return text;
  }
  std::string operator()(const Ready& frame) const {
    return fmt::format("{} received {} suspect {}", words(frame.transcript), frame.units_received,
                       frame.units_suspect);
  }
  std::string operator()(const Commit& frame) const {
    return fmt::format("{} token {}", words(frame.transcript), to_hex(frame.token.bytes));
  }
  std::string operator()(const Started& frame) const {
    return " token " + to_hex(frame.token.bytes);
  }
  std::string operator()(const Abort& frame) const {
    return fmt::format(" {} {}", to_string(frame.code), in_quotes(frame.text));
  }
  std::string operator()(const Unknown& frame) const { return fmt::format(" type {}", frame.type); }
};

Result<std::string> words(const Piece& piece) {
  const std::span<const std::byte> message = piece.bytes;
  if (piece.kind == Piece::Kind::payload) {
    return fmt::format("payload {} bytes {:016x}", message.size(), xxh3_64(message));
  }
  const std::uint32_t magic = ByteReader(message).u32();
  if (magic == k_hello_form.magic) return words(FERRY_TRY(decode_hello(message)));
  if (magic == k_hello_ack_form.magic) return words(FERRY_TRY(decode_hello_ack(message)));
  if (magic == k_packet_form.magic) return words(FERRY_TRY(decode_packet(message)).header);
  const ControlFrame frame = FERRY_TRY(decode_control(message));
  return std::string(name_of(frame)) + std::visit(FrameWords{}, frame);
}

}  // namespace

Result<std::vector<Piece>> pieces_of(std::span<const std::byte> stream) {
  std::vector<Piece> pieces;
  ByteReader in(stream);
  while (in.remaining() > 0) {
    ByteReader prologue(stream.last(in.remaining()));
    const std::uint32_t magic = prologue.u32();
    const std::size_t length = prologue.u32();
    pieces.push_back({Piece::Kind::message, in.bytes(length)});
    if (!in.ok() || length == 0) return fail(Errc::protocol, "a stream that ends in a message");
    if (magic != k_packet_form.magic) continue;
    const std::size_t payload = FERRY_TRY(decode_packet(pieces.back().bytes)).header.payload_bytes;
    if (payload > 0) pieces.push_back({Piece::Kind::payload, in.bytes(payload)});
    if (!in.ok()) return fail(Errc::protocol, "a stream that ends in a payload");
  }
  return pieces;
}

Result<std::string> meaning_of(std::span<const std::byte> stream) {
  std::string text;
  for (const Piece& piece : FERRY_TRY(pieces_of(stream))) text += FERRY_TRY(words(piece)) + "\n";
  return text;
}

}  // namespace ferry::wire
