#include "wire/framing.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/wire/forge.h"
#include "wire/control.h"
#include "wire/hello.h"
#include "wire/packet.h"

namespace ferry::wire {
namespace {

Bytes prologue(std::string_view magic, std::uint32_t length) {
  Bytes out;
  ByteWriter writer(out);
  writer.bytes(std::as_bytes(std::span(magic)));
  writer.u32(length);
  return out;
}

using LengthOf = Result<std::size_t> (*)(std::span<const std::byte>);
struct LengthCase {
  LengthOf length_of;
  std::string_view magic;
  std::size_t least;
  std::size_t most;
};

TEST(Framing, EveryKindOfMessageBoundsItsLength) {
  const LengthCase cases[] = {{hello_length, "FRYH", 84, k_max_hello_bytes},
                              {hello_ack_length, "FRYA", 46, k_max_hello_bytes},
                              {control_length, "FRYC", 18, k_max_control_bytes},
                              {packet_header_length, "FRYP", 48, k_max_packet_header_bytes}};
  for (const auto& [length_of, magic, least, most] : cases) {
    const auto stated = [&](std::size_t length) {
      return length_of(prologue(magic, static_cast<std::uint32_t>(length)));
    };
    EXPECT_EQ(stated(least).value(), least) << magic;
    EXPECT_EQ(stated(most).value(), most) << magic;
    EXPECT_EQ(code_of(stated(least - 1)), Errc::protocol) << magic;
    EXPECT_EQ(code_of(stated(most + 1)), Errc::protocol) << magic;
    EXPECT_EQ(code_of(stated(0)), Errc::protocol) << magic;
    EXPECT_EQ(code_of(stated(UINT32_MAX)), Errc::protocol) << magic;
    for (const auto& other : cases) {
      if (other.magic == magic) continue;
      EXPECT_EQ(code_of(length_of(prologue(other.magic, 100))), Errc::protocol)
          << other.magic << " for a " << magic;
    }
    EXPECT_EQ(code_of(length_of({})), Errc::protocol);
    Bytes cut = prologue(magic, 100);
    cut.pop_back();
    EXPECT_EQ(code_of(length_of(cut)), Errc::protocol);
  }
}

TEST(Framing, TellsFramesFromPackets) {
  EXPECT_EQ(message_kind(prologue("FRYC", 18)), MessageKind::control);
  EXPECT_EQ(message_kind(prologue("FRYP", 48)), MessageKind::packet);
  EXPECT_EQ(code_of(message_kind(prologue("FRYH", 84))), Errc::protocol);
  EXPECT_EQ(code_of(message_kind({})), Errc::protocol);
}

TEST(Framing, AChecksumThatIsRightDoesNotExcuseTheRest) {
  const Bytes ack = encode(ControlFrame(LayoutAck{}));
  Bytes other_magic = ack;
  other_magic[3] = std::byte{'X'};
  EXPECT_EQ(code_of(decode_control(resealed(other_magic))), Errc::protocol);

  // Sealed with a length that is not the message's.
  Bytes other_length(ack.begin(), ack.end() - 8);
  ByteWriter out(other_length);
  out.overwrite_u32(4, 19);
  out.u64(xxh3_64(other_length));
  EXPECT_EQ(code_of(decode_control(other_length)), Errc::protocol);
}

TEST(CutText, CutsBetweenCharacters) {
  EXPECT_EQ(cut_text("abc", 3), "abc");
  EXPECT_EQ(cut_text("abcd", 3), "abc");
  EXPECT_EQ(cut_text("ab\xc3\xa4", 3), "ab");
  EXPECT_EQ(cut_text("a\xe2\x82\xac", 3), "a");
  EXPECT_EQ(cut_text("\x80\x80\x80\x80", 3), "") << "no character at all";
}

TEST(Plausible, IsWhatSomeMemoryCouldHave) {
  constexpr RegionId k_last = k_max_regions - 1;
  EXPECT_TRUE(plausible({k_last, 0, 1}));
  EXPECT_FALSE(plausible({k_max_regions, 0, 1}));
  EXPECT_FALSE(plausible({0, 0, 0}));
  EXPECT_FALSE(plausible({0, 1, 1}));
  EXPECT_FALSE(plausible({0, k_unit_bytes - 1, 1}));
  EXPECT_TRUE(plausible({0, 0, k_max_memory_bytes}));
  EXPECT_FALSE(plausible({0, 0, k_max_memory_bytes + 1}));
  EXPECT_TRUE(plausible({0, k_max_memory_bytes - k_unit_bytes, k_unit_bytes}));
  EXPECT_FALSE(plausible({0, k_max_memory_bytes - k_unit_bytes, k_unit_bytes + 1}));
  EXPECT_FALSE(plausible({0, k_max_memory_bytes, 1}));
  EXPECT_FALSE(plausible({0, k_max_memory_bytes + k_unit_bytes, 1}));
  EXPECT_FALSE(plausible({0, k_unit_bytes, UINT64_MAX}));
  EXPECT_FALSE(plausible({0, UINT64_MAX - k_unit_bytes + 1, 2 * k_unit_bytes}));
}

}  // namespace
}  // namespace ferry::wire
