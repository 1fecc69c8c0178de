#include "base/cursor.h"

#include <gmock/gmock.h>

namespace ferry {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::byte> bytes_of(std::initializer_list<unsigned> values) {
  std::vector<std::byte> out;
  for (const unsigned value : values) out.push_back(static_cast<std::byte>(value));
  return out;
}

TEST(ByteWriter, WritesTheLowestByteFirst) {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.u8(0x01);
  writer.u16(0x0302);
  writer.u32(0x07060504);
  writer.u64(0x0f0e0d0c0b0a0908);
  EXPECT_EQ(out, bytes_of({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}));
  EXPECT_EQ(writer.size(), 15u);
}

TEST(ByteWriter, PutsAStringBehindItsLength) {
  std::vector<std::byte> out;
  ByteWriter(out).string("abc");
  EXPECT_EQ(out, bytes_of({3, 0, 'a', 'b', 'c'}));
}

TEST(ByteWriter, OverwritesOnlyWhatItIsToldTo) {
  auto out = bytes_of({1, 2, 3, 4, 5, 6});
  ByteWriter(out).overwrite_u32(1, 0xddccbbaa);
  EXPECT_EQ(out, bytes_of({1, 0xaa, 0xbb, 0xcc, 0xdd, 6}));
}

TEST(ByteReader, ReadsWhatAWriterWrote) {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.u8(0xfe);
  writer.u16(0xfedc);
  writer.u32(0xfedcba98);
  writer.u64(0xfedcba9876543210);
  writer.string("name");
  writer.bytes(bytes_of({7, 8, 9}));

  ByteReader reader(out);
  EXPECT_EQ(reader.u8(), 0xfe);
  EXPECT_EQ(reader.u16(), 0xfedc);
  EXPECT_EQ(reader.u32(), 0xfedcba98u);
  EXPECT_EQ(reader.u64(), 0xfedcba9876543210u);
  EXPECT_EQ(reader.string(), "name");
  EXPECT_EQ(reader.remaining(), 3u);
  EXPECT_THAT(reader.array<3>(), ElementsAre(std::byte{7}, std::byte{8}, std::byte{9}));
  EXPECT_EQ(reader.remaining(), 0u);
  EXPECT_TRUE(reader.ok());
}

TEST(ByteReader, ReadingTheEndExactlyIsNoFailure) {
  const auto in = bytes_of({1, 2});
  ByteReader reader(in);
  reader.u16();
  EXPECT_TRUE(reader.ok());
  EXPECT_THAT(reader.bytes(0), IsEmpty());
  EXPECT_TRUE(reader.ok());
}

TEST(ByteReader, AFieldThatDoesNotFitIsZeroAndFailsForGood) {
  const auto in = bytes_of({0xff, 0xff, 0xff});
  ByteReader reader(in);
  EXPECT_EQ(reader.u32(), 0u);
  EXPECT_FALSE(reader.ok());
  // There were three bytes, but nobody knows any more what they are.
  EXPECT_EQ(reader.remaining(), 0u);
  EXPECT_EQ(reader.u8(), 0u);
  EXPECT_EQ(reader.string(), "");
  EXPECT_FALSE(reader.ok());
}

TEST(ByteReader, EveryKindOfFieldFailsPastTheEnd) {
  const auto fails = [](auto read) {
    ByteReader reader({});
    read(reader);
    return !reader.ok() && reader.remaining() == 0;
  };
  EXPECT_TRUE(fails([](ByteReader& r) { EXPECT_EQ(r.u8(), 0u); }));
  EXPECT_TRUE(fails([](ByteReader& r) { EXPECT_EQ(r.u16(), 0u); }));
  EXPECT_TRUE(fails([](ByteReader& r) { EXPECT_EQ(r.u32(), 0u); }));
  EXPECT_TRUE(fails([](ByteReader& r) { EXPECT_EQ(r.u64(), 0u); }));
  EXPECT_TRUE(fails([](ByteReader& r) { EXPECT_THAT(r.bytes(SIZE_MAX), IsEmpty()); }));
  EXPECT_TRUE(fails([](ByteReader& r) { EXPECT_EQ(r.array<2>(), (std::array<std::byte, 2>{})); }));
  EXPECT_TRUE(fails([](ByteReader& r) { EXPECT_EQ(r.string(), ""); }));
}

TEST(ByteReader, AStringThatClaimsMoreThanThereIsFails) {
  const auto in = bytes_of({4, 0, 'a', 'b', 'c'});
  ByteReader reader(in);
  EXPECT_EQ(reader.string(), "");
  EXPECT_FALSE(reader.ok());
}

}  // namespace
}  // namespace ferry
