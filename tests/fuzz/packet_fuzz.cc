// Packet headers: refused, or encoding gives the same bytes again.
#include "tests/fuzz/fuzz_target.h"
#include "wire/packet.h"

namespace ferry::fuzz {
namespace {

void check(const Bytes& message) {
  (void)wire::packet_header_length(message);
  const auto packet = wire::decode_packet(message);
  if (!packet) return;
  const wire::EncodedHeader again = wire::encode(packet->header);
  // Optional flags that are unknown are dropped: only the flags may differ then, and the checksum.
  demand(again.bytes.size() == message.size(), "a header is as long as its fields");
  if (again.bytes != message) {
    const auto decoded = wire::decode_packet(again.bytes);
    demand(decoded && decoded->header == packet->header, "a header comes out as it went in");
    return;
  }
  demand(again.checksum == packet->checksum, "a header has one checksum");
}

}  // namespace
}  // namespace ferry::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ferry::fuzz::check_message(data, size, ferry::fuzz::check);
}
