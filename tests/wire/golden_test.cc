// What earlier versions said still means what it meant.
#include <gtest/gtest.h>

#include "tests/wire/golden_streams.h"
#include "tests/wire/stream.h"
#include "wire/control.h"
#include "wire/framing.h"
#include "wire/hello.h"
#include "wire/packet.h"

namespace ferry::wire {
namespace {

const std::filesystem::path k_golden = GOLDEN_STREAMS;

void expect_recorded_meaning(const std::filesystem::path& stream) {
  const auto meaning = meaning_of(read_bytes(stream));
  ASSERT_TRUE(meaning) << stream << ": " << meaning.error().text();
  EXPECT_EQ(*meaning, read_text(stream.string() + ".txt")) << stream;
}

TEST(Golden, EveryMessageOfASourceMeansWhatItMeant) {
  const auto streams = streams_in(k_golden, ".up");
  EXPECT_GE(streams.size(), 6u);
  for (const auto& stream : streams) expect_recorded_meaning(stream);
}

TEST(Golden, EveryMessageOfADestinationMeansWhatItMeant) {
  const auto streams = streams_in(k_golden, ".down");
  EXPECT_GE(streams.size(), 6u);
  for (const auto& stream : streams) expect_recorded_meaning(stream);
}

/// The same message as today's encoders write it.
Bytes encoded_again(const Bytes& message) {
  const std::uint32_t magic = ByteReader(message).u32();
  if (magic == k_hello_form.magic) return encode(decode_hello(message).value());
  if (magic == k_hello_ack_form.magic) return encode(decode_hello_ack(message).value());
  if (magic == k_packet_form.magic) return encode(decode_packet(message)->header).bytes;
  return encode(decode_control(message).value());
}

TEST(Golden, Version1IsStillWrittenAsItWas) {
  auto streams = streams_in(k_golden / "v1", ".up");
  std::ranges::copy(streams_in(k_golden / "v1", ".down"), std::back_inserter(streams));
  for (const auto& path : streams) {
    const Bytes stream = read_bytes(path);
    const auto pieces = pieces_of(stream).value();
    for (const Piece& piece : pieces) {
      if (piece.kind == Piece::Kind::payload) continue;
      const Bytes message(piece.bytes.begin(), piece.bytes.end());
      EXPECT_EQ(to_hex(encoded_again(message)), to_hex(message)) << path;
    }
  }
}

}  // namespace
}  // namespace ferry::wire
