#include "rdma/message.h"

#include <algorithm>
#include <bit>
#include <string>

#include "base/cursor.h"

namespace ferry {
namespace {

// "ferryrdm", little-endian.
constexpr std::uint64_t k_magic = 0x6d64727972726566;
// A message has to have room for what is said of grants.
constexpr std::uint32_t k_least_message_bytes = 256;

std::unexpected<Error> not_ours(const char* what) {
  return fail(Errc::protocol, std::string("read what the peer's RDMA says: ") + what);
}

}  // namespace

std::array<std::byte, RdmaGreeting::k_bytes> encode(const RdmaGreeting& greeting) {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.u64(k_magic);
  writer.u16(greeting.version);
  writer.u16(greeting.buffers);
  writer.u32(greeting.message_bytes);
  writer.u32(0);
  std::array<std::byte, RdmaGreeting::k_bytes> bytes{};
  std::ranges::copy(out, bytes.begin());
  return bytes;
}

Result<RdmaGreeting> decode_greeting(std::span<const std::byte> from) {
  ByteReader reader(from);
  if (reader.u64() != k_magic) return not_ours("it is no Ferry");
  RdmaGreeting greeting;
  greeting.version = reader.u16();
  greeting.buffers = reader.u16();
  greeting.message_bytes = reader.u32();
  (void)reader.u32();  // for later versions
  if (!reader.ok()) return not_ours("a short greeting");
  if (greeting.version != RdmaGreeting::k_version) {
    return fail(Errc::unsupported, "read what the peer's RDMA says: its version is " +
                                       std::to_string(greeting.version) + ", and ours is " +
                                       std::to_string(RdmaGreeting::k_version));
  }
  if (greeting.buffers < 2 || greeting.buffers > RdmaGreeting::k_most_buffers ||
      greeting.message_bytes < k_least_message_bytes ||
      greeting.message_bytes > RdmaGreeting::k_most_message_bytes) {
    return not_ours("room for no sensible messages");
  }
  return greeting;
}

void encode(const RdmaHeader& header, std::byte* at) noexcept {
  at[0] = static_cast<std::byte>(header.word);
  at[1] = std::byte{0};
  for (int i = 0; i < 2; ++i) at[2 + i] = static_cast<std::byte>(header.credits >> (8 * i));
  for (int i = 0; i < 4; ++i) at[4 + i] = static_cast<std::byte>(header.length >> (8 * i));
}

Result<RdmaHeader> decode_header(std::span<const std::byte> message) {
  ByteReader reader(message);
  RdmaHeader header;
  const std::uint8_t word = reader.u8();
  const std::uint8_t zero = reader.u8();
  header.credits = reader.u16();
  header.length = reader.u32();
  if (!reader.ok() || zero != 0) return not_ours("a message without a header");
  if (word < static_cast<std::uint8_t>(RdmaWord::data) ||
      word > static_cast<std::uint8_t>(RdmaWord::revoked)) {
    return not_ours("an unknown message");
  }
  if (header.length != reader.remaining()) return not_ours("a message of another length");
  header.word = static_cast<RdmaWord>(word);
  return header;
}

std::vector<std::byte> encode(const RdmaAdmission& admission) {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.u32(admission.regions);
  writer.u64(admission.chunk_bytes);
  return out;
}

std::vector<std::byte> encode(const RdmaGrant& grant) {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.u32(grant.run.region);
  writer.u32(grant.key);
  writer.u64(grant.run.offset);
  writer.u64(grant.run.length);
  writer.u64(grant.address);
  return out;
}

Result<RdmaAdmission> decode_admission(std::span<const std::byte> from) {
  ByteReader reader(from);
  RdmaAdmission admission;
  admission.regions = reader.u32();
  admission.chunk_bytes = reader.u64();
  if (!reader.ok() || reader.remaining() != 0) return not_ours("an admission of another length");
  if (admission.regions > RdmaAdmission::k_most_regions) return not_ours("too many regions");
  if (admission.chunk_bytes != 0 && (admission.chunk_bytes < RdmaAdmission::k_least_chunk ||
                                     !std::has_single_bit(admission.chunk_bytes))) {
    return not_ours("chunks of no sensible size");
  }
  return admission;
}

Result<RdmaGrant> decode_grant(std::span<const std::byte> from) {
  ByteReader reader(from);
  RdmaGrant grant;
  grant.run.region = reader.u32();
  grant.key = reader.u32();
  grant.run.offset = reader.u64();
  grant.run.length = reader.u64();
  grant.address = reader.u64();
  if (!reader.ok() || reader.remaining() != 0) return not_ours("a grant of another length");
  if (grant.run.length > UINT64_MAX - grant.run.offset ||
      grant.run.length > UINT64_MAX - grant.address) {
    return not_ours("a grant beyond all addresses");
  }
  return grant;
}

}  // namespace ferry
