#include "wire/packet.h"

#include <fmt/format.h>

#include <cassert>
#include <utility>

#include "base/checksum.h"
#include "wire/framing.h"

namespace ferry::wire {
namespace {

constexpr std::size_t k_packet_run_bytes = 32;
constexpr std::uint32_t k_critical_flags = 0xffff0000;

std::unexpected<Error> refuse(std::string_view why) {
  return fail(Errc::protocol, fmt::format("decode packet header: {}", why));
}

/// What the runs of a header add up to.
struct Sums {
  std::uint64_t payload_bytes = 0;
  std::uint64_t checksums = 0;
};

// Faults are told in words, empty where there is none: encode() asserts what decode_packet()
// refuses.

std::string_view fault_of(const WireRun& run) noexcept {
  if (!plausible(run.run)) return "a run that no memory has";
  if (run.kind != RunKind::raw && run.kind != RunKind::zero) return "a kind of run not known here";
  if (run.parameter != 0) return "a parameter for a kind of run that has none";
  const std::uint64_t payload = run.kind == RunKind::raw ? run.run.length : 0;
  if (run.payload_bytes != payload) return "a run whose payload does not fit it";
  return {};
}

std::string_view fault_of_flags(std::uint32_t flags) noexcept {
  if ((flags & k_critical_flags & ~k_known_flags) != 0) return "a critical flag not known here";
  const bool stable = (flags & k_stable) != 0;
  const bool live = (flags & k_live) != 0;
  const bool end_round = (flags & k_end_round) != 0;
  if (stable + live + end_round != 1) return "not exactly one of stable, live and end of round";
  if ((flags & k_resend) != 0 && !stable) return "a resend that is not stable";
  if ((flags & k_state) != 0 && !stable) return "device state that is not stable";
  if ((flags & k_state) != 0 && (flags & k_placed) != 0) return "device state that was placed";
  return {};
}

std::string_view fault_of_state(const PacketHeader& header) noexcept {
  if (header.runs.size() != 1) return "not one piece of device state";
  const WireRun& piece = header.runs.front();
  if (piece.kind != RunKind::raw) return "device state that is told and not sent";
  if (piece.run.offset % k_max_state_piece_bytes != 0 ||
      piece.run.length > k_max_state_piece_bytes) {
    return "device state that is no piece";
  }
  return {};
}

std::string_view fault_of(const PacketHeader& header) noexcept {
  if (const auto fault = fault_of_flags(header.flags); !fault.empty()) return fault;
  if (header.codec != Codec::none) return "a codec not known here";
  if (header.runs.size() > k_max_runs) return "too many runs";
  if (((header.flags & k_end_round) != 0) != header.runs.empty()) {
    return "an end of round with runs, or a packet without";
  }
  Sums sums;
  for (const WireRun& run : header.runs) {
    if (const auto fault = fault_of(run); !fault.empty()) return fault;
    sums.payload_bytes += run.payload_bytes;  // at most 2^10 times 2^32
    sums.checksums += units_in(run.payload_bytes);
  }
  if (header.payload_bytes > k_max_payload_bytes) return "too much payload";
  if (header.payload_bytes != sums.payload_bytes || header.raw_bytes != sums.payload_bytes) {
    return "a payload that is not the sum of its runs";
  }
  if (header.checksums.size() != sums.checksums) return "not one checksum for each unit";
  if ((header.flags & k_placed) != 0 && header.payload_bytes == 0) return "nothing that was placed";
  return (header.flags & k_state) != 0 ? fault_of_state(header) : std::string_view{};
}

void write_run(ByteWriter& out, const WireRun& run) {
  out.u32(run.run.region);
  out.u8(static_cast<std::uint8_t>(run.kind));
  out.u8(0);
  out.u16(0);
  out.u64(run.run.offset);
  out.u64(run.run.length);
  out.u32(run.payload_bytes);
  out.u32(run.parameter);
}

Result<WireRun> read_run(ByteReader& in) {
  WireRun run;
  run.run.region = in.u32();
  run.kind = static_cast<RunKind>(in.u8());
  const unsigned reserved = in.u8() | in.u16();
  run.run.offset = in.u64();
  run.run.length = in.u64();
  run.payload_bytes = in.u32();
  run.parameter = in.u32();
  if (reserved != 0) return refuse("a reserved field of a run is not 0");
  return run;
}

}  // namespace

EncodedHeader encode(const PacketHeader& header) {
  assert(fault_of(header).empty());
  EncodedHeader encoded;
  encoded.bytes.reserve(k_packet_form.min_length + header.runs.size() * k_packet_run_bytes +
                        header.checksums.size() * k_checksum_bytes);
  MessageWriter out(encoded.bytes, k_packet_form);
  out.u64(header.sequence);
  out.u32(header.flags);
  out.u32(header.round);
  out.u8(static_cast<std::uint8_t>(header.codec));
  out.u8(0);
  out.u16(static_cast<std::uint16_t>(header.runs.size()));
  out.u32(static_cast<std::uint32_t>(header.checksums.size()));
  out.u32(header.payload_bytes);
  out.u32(header.raw_bytes);
  for (const WireRun& run : header.runs) write_run(out, run);
  for (const std::uint64_t checksum : header.checksums) out.u64(checksum);
  encoded.checksum = out.seal();
  return encoded;
}

Result<std::size_t> packet_header_length(std::span<const std::byte> prologue) {
  return stated_length(prologue, k_packet_form);
}

Result<DecodedHeader> decode_packet(std::span<const std::byte> bytes) {
  OpenedMessage message = FERRY_TRY(open_message(bytes, k_packet_form));
  ByteReader& in = message.fields;
  PacketHeader header;
  header.sequence = in.u64();
  header.flags = in.u32() & (k_critical_flags | k_known_flags);
  header.round = in.u32();
  header.codec = static_cast<Codec>(in.u8());
  const unsigned reserved = in.u8();
  const std::size_t runs = in.u16();
  const std::size_t checksums = in.u32();
  header.payload_bytes = in.u32();
  header.raw_bytes = in.u32();
  if (reserved != 0) return refuse("a reserved field is not 0");
  if (runs > k_max_runs || checksums > k_max_checksums ||
      in.remaining() != runs * k_packet_run_bytes + checksums * k_checksum_bytes) {
    return refuse(
        fmt::format("{} runs and {} checksums in {} bytes", runs, checksums, in.remaining()));
  }
  header.runs.reserve(runs);
  for (std::size_t i = 0; i < runs; ++i) header.runs.push_back(FERRY_TRY(read_run(in)));
  header.checksums.resize(checksums);
  for (std::uint64_t& checksum : header.checksums) checksum = in.u64();
  if (const auto fault = fault_of(header); !fault.empty()) return refuse(fault);
  return DecodedHeader{std::move(header), message.checksum};
}

std::uint64_t unit_checksum(std::span<const std::byte> unit) noexcept { return xxh3_64(unit); }

}  // namespace ferry::wire
