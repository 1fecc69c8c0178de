#include "tests/fuzz/session_script.h"

#include <algorithm>
#include <utility>

#include "multifd/lane_transcript.h"
#include "wire/packet.h"

namespace ferry::fuzz {
namespace {

constexpr unsigned k_as_they_are = 1;
constexpr unsigned k_cut = 2;

// Where a packet's header has its counts, and what they count (docs/wire-format.md).
constexpr std::size_t k_runs_at = 26;
constexpr std::size_t k_header_bytes = 48;
constexpr std::size_t k_run_bytes = 32;

/// The length that a header would have by its own counts; 0 where the bytes end before it does.
std::size_t header_length(const Bytes& bytes) {
  if (bytes.size() < k_header_bytes) return 0;
  ByteReader counts{std::span(bytes).subspan(k_runs_at)};
  const std::size_t runs = counts.u16();
  const std::size_t checksums = counts.u32();
  const std::size_t length =
      k_header_bytes + k_run_bytes * runs + wire::k_checksum_bytes * checksums;
  return length <= bytes.size() ? length : 0;
}

/// The checksums of a payload that belongs to these runs.
void put_checksums_right(wire::PacketHeader& header, std::span<const std::byte> payload) {
  auto checksum = header.checksums.begin();
  for (const wire::WireRun& run : header.runs) {
    auto rest = payload.first(run.payload_bytes);
    payload = payload.subspan(run.payload_bytes);
    while (!rest.empty()) {
      const auto unit = rest.first(std::min<std::size_t>(rest.size(), k_unit_bytes));
      *checksum++ = wire::unit_checksum(unit);
      rest = rest.subspan(unit.size());
    }
  }
}

}  // namespace

SessionScript script_of(std::span<const std::byte> input) {
  ByteReader in(input);
  const unsigned options = in.u8();
  SessionScript script;
  if ((options & k_as_they_are) != 0) script.seals = SessionScript::Seals::as_they_are;
  if ((options & k_cut) != 0) script.ending = SessionScript::Ending::cut;
  while (in.remaining() >= 3) {
    const unsigned line = in.u8() % k_lines;
    const std::size_t length = in.u16();
    const auto bytes = in.bytes(std::min(length, in.remaining()));
    script.steps.push_back({line, Bytes(bytes.begin(), bytes.end())});
  }
  return script;
}

Bytes input_of(const SessionScript& script) {
  Bytes input;
  ByteWriter out(input);
  out.u8(static_cast<std::uint8_t>(
      (script.seals == SessionScript::Seals::as_they_are ? k_as_they_are : 0) |
      (script.ending == SessionScript::Ending::cut ? k_cut : 0)));
  for (const Step& step : script.steps) {
    out.u8(static_cast<std::uint8_t>(step.line));
    out.u16(static_cast<std::uint16_t>(step.bytes.size()));
    out.bytes(step.bytes);
  }
  return input;
}

Bytes Sealer::put_right(const Step& step) {
  const std::uint32_t magic = ByteReader(step.bytes).u32();
  if (magic == wire::k_packet_form.magic) return packet(step.line, step.bytes);
  if (magic == wire::k_control_form.magic) return control(sealed(step.bytes));
  return sealed(step.bytes);
}

Bytes Sealer::packet(unsigned line, Bytes bytes) {
  const std::size_t length = header_length(bytes);
  if (length == 0) return sealed(std::move(bytes));
  const auto boundary = bytes.begin() + static_cast<std::ptrdiff_t>(length);
  const Bytes payload(boundary, bytes.end());
  Bytes header = sealed(Bytes(bytes.begin(), boundary));
  if (auto decoded = wire::decode_packet(header);
      decoded && decoded->header.payload_bytes <= payload.size()) {
    put_checksums_right(decoded->header, payload);
    wire::EncodedHeader encoded = wire::encode(decoded->header);
    record_packet(lanes_[line == 0 ? 0 : line - 1], encoded.checksum,
                  decoded->header.payload_bytes);
    header = std::move(encoded.bytes);
  }
  header.insert(header.end(), payload.begin(), payload.end());
  return header;
}

Bytes Sealer::control(Bytes bytes) {
  auto frame = wire::decode_control(bytes);
  if (!frame) return bytes;
  const auto fill = [this](wire::Transcript& transcript) {
    const std::size_t count = std::min(transcript.lanes.size(), lanes_.size());
    std::copy_n(lanes_.begin(), count, transcript.lanes.begin());
  };
  if (auto* prepare = std::get_if<wire::Prepare>(&*frame)) {
    fill(prepare->transcript);
  } else if (auto* commit = std::get_if<wire::Commit>(&*frame)) {
    fill(commit->transcript);
  } else {
    return bytes;
  }
  return wire::encode(*frame);
}

}  // namespace ferry::fuzz
