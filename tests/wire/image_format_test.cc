#include "wire/image_format.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/checksum.h"
#include "tests/wire/forge.h"

namespace ferry::wire {
namespace {

const Layout k_layout{{{.name = "ram", .guest_address = 1 << 20, .length = 3 * k_unit_bytes + 1},
                       {.name = "none", .length = 0},
                       {.name = "rom", .page_size = 1 << 21, .length = 600 * k_unit_bytes}}};

ImageHeader some_image_header() {
  ImageHeader header{.layout = k_layout,
                     .units_present = 5,
                     .index_checksum = 0x1111,
                     .bitmap_checksum = 0x2222,
                     .directory_bytes = 0,
                     .file_bytes = plan_image(k_layout).end()};
  header.id.fill(std::byte{0x1d});
  return header;
}

std::span<const std::byte> message_of(const Bytes& units) {
  return std::span(units).first(ByteReader(std::span(units).subspan(4)).u32());
}

/// The header after something was done to its fields, with length, checksum and padding right.
Bytes with_field(std::size_t at, std::uint8_t value) {
  const Bytes units = encode(some_image_header());
  const auto message = message_of(units);
  Bytes changed(message.begin(), message.end());
  changed[at] = static_cast<std::byte>(value);
  changed = resealed(std::move(changed));
  changed.resize(padded(changed.size()));
  return changed;
}

TEST(ImagePlan, PutsEveryPartBehindTheOneBefore) {
  const ImagePlan plan = plan_image(k_layout);
  EXPECT_EQ(plan.header, (Stretch{0, 4096}));
  EXPECT_EQ(plan.index, (Stretch{4096, 4096}));
  EXPECT_EQ(plan.bitmap, (Stretch{8192, 4096}));
  EXPECT_EQ(plan.table, (Stretch{12288, 3 * 4096})) << "one block for ram, two for rom";
  EXPECT_EQ(plan.data, (Stretch{24576, 604 * 4096}));
  EXPECT_EQ(plan.blocks, 3u);
  EXPECT_EQ(plan.regions[0], (ImagePlan::Region{4, 0, 0, 24576}));
  EXPECT_EQ(plan.regions[1], (ImagePlan::Region{0, 64, 1, 24576 + 4 * 4096}));
  EXPECT_EQ(plan.regions[2], (ImagePlan::Region{600, 64, 1, 24576 + 4 * 4096}));
}

TEST(ImagePlan, OfNoMemoryIsAHeader) { EXPECT_EQ(plan_image({}).end(), 4096u); }

TEST(ImageHeader, ComesOutAsItWentIn) {
  const Bytes bytes = encode(some_image_header());
  EXPECT_EQ(bytes.size(), 4096u);
  EXPECT_EQ(image_header_bytes(std::span(bytes).first(k_prologue_bytes)), 4096u);
  const auto header = decode_image_header(bytes);
  ASSERT_TRUE(header) << header.error().text();
  EXPECT_EQ(*header, some_image_header());
}

TEST(ImageHeader, IsTheseBytes) {
  const ImageHeader header{
      .layout = {{{.name = "a", .guest_address = 2, .page_size = 4096, .length = 5}}},
      .units_present = 1,
      .index_checksum = 3,
      .bitmap_checksum = 4,
      .directory_bytes = 0,
      .file_bytes = 5 * 4096};
  const Bytes units = encode(header);
  const auto message = message_of(units);
  EXPECT_EQ(to_hex(message.first(message.size() - 8)),
            "46525949"
            "bd000000"
            "0100"
            "0000"
            "00000000"
            "00000000"
            "00000000000000000000000000000000"
            "00100000"
            "0050000000000000"
            "0100000000000000"
            "0010000000000000"
            "0010000000000000"
            "0020000000000000"
            "0010000000000000"
            "0030000000000000"
            "0010000000000000"
            "0040000000000000"
            "0010000000000000"
            "0300000000000000"
            "0400000000000000"
            "0000000000000000"
            "0100"
            "0100"
            "61"
            "0200000000000000"
            "0010000000000000"
            "0500000000000000"
            "0040000000000000");
}

TEST(ImageHeader, EveryDamagedByteIsFound) {
  const Bytes bytes = encode(some_image_header());
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    Bytes damaged = bytes;
    damaged[at] ^= std::byte{0x20};
    ASSERT_FALSE(decode_image_header(damaged)) << "byte " << at;
  }
}

TEST(ImageHeader, WhatThisBuildDoesNotHaveIsUnsupported) {
  EXPECT_EQ(code_of(decode_image_header(with_field(8, 2))), Errc::unsupported);
  EXPECT_EQ(code_of(decode_image_header(with_field(12, 1))), Errc::unsupported);
  EXPECT_TRUE(decode_image_header(with_field(16, 1))) << "an optional feature";
}

TEST(ImageHeader, APlaceThatTheLayoutDoesNotGiveIsRefused) {
  for (const std::size_t at : {10, 37, 41, 53, 57, 65, 73, 81, 89, 97, 105, 113, 137, 144}) {
    EXPECT_EQ(code_of(decode_image_header(with_field(at, 0x77))), Errc::protocol) << at;
  }
}

TEST(ImageHeader, AWrongMutantIsRefusedOrMeansWhatItSays) {
  const Bytes units = encode(some_image_header());
  const auto message = message_of(units);
  expect_mutants_are_refused_or_mean_themselves(
      Bytes(message.begin(), message.end()),
      [](Bytes bytes) {
        bytes.resize(padded(bytes.size()));
        return decode_image_header(bytes);
      },
      [](const ImageHeader&) { return Bytes(); });
}

TEST(ImageBitmap, ComesOutAsItWentIn) {
  PageBitmap present(k_layout);
  present.mark({0, 3 * k_unit_bytes, 1});
  present.mark({2, 5 * k_unit_bytes, 40 * k_unit_bytes});
  present.mark({2, 599 * k_unit_bytes, k_unit_bytes});
  const Bytes bytes = encode_image_bitmap(present, k_layout);
  ASSERT_EQ(bytes.size(), 4096u);
  EXPECT_EQ(to_hex(std::span(bytes).first(14)), "0800000000000000e0ffffffff1f");
  const auto again = decode_image_bitmap(bytes, k_layout);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->count(), present.count());
  EXPECT_EQ(encode_image_bitmap(*again, k_layout), bytes);
}

TEST(ImageBitmap, AMarkWhereThereIsNoUnitIsRefused) {
  const Bytes empty(4096);
  for (const std::size_t bit : {4u, 63u, 664u, 4096u * 8 - 1}) {
    Bytes bytes = empty;
    bytes[bit / 8] = std::byte{1} << (bit % 8);
    EXPECT_EQ(code_of(decode_image_bitmap(bytes, k_layout)), Errc::protocol) << bit;
  }
  EXPECT_TRUE(decode_image_bitmap(empty, k_layout));
  EXPECT_FALSE(decode_image_bitmap(std::span(empty).first(4095), k_layout));
}

TEST(ImageSections, ComeOutAsTheyWentIn) {
  ImageHeader header = some_image_header();
  std::vector<ImageSection> sections{{.name = "cpu", .version = 2, .length = 5000, .checksum = 7},
                                     {.name = "empty"},
                                     {.name = "disk", .length = 4096, .checksum = 9}};
  header.file_bytes = place_sections(sections, header.file_bytes);
  const std::uint64_t begin = plan_image(k_layout).end() + 4096;
  EXPECT_EQ(sections[0].offset, begin);
  EXPECT_EQ(sections[1].offset, begin + 8192);
  EXPECT_EQ(sections[2].offset, begin + 8192);
  EXPECT_EQ(header.file_bytes, begin + 3 * 4096);
  const Bytes bytes = encode(sections);
  header.directory_bytes = bytes.size();
  EXPECT_EQ(decode_image_sections(bytes, header), sections);
  EXPECT_TRUE(decode_image_header(encode(header)));
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    Bytes damaged = bytes;
    damaged[at] ^= std::byte{1};
    ASSERT_FALSE(decode_image_sections(damaged, header)) << at;
  }
}

TEST(ImageSections, OneThatStandsWhereNoneCanBeIsRefused) {
  ImageHeader header = some_image_header();
  std::vector<ImageSection> sections{{.name = "cpu", .length = 5000}};
  header.file_bytes = place_sections(sections, header.file_bytes);
  for (auto wrong :
       {ImageSection{.name = "cpu", .length = 9000, .offset = sections[0].offset},
        ImageSection{.name = "cpu", .length = 5000, .offset = 0},
        ImageSection{.name = "cpu", .length = UINT64_MAX, .offset = sections[0].offset},
        ImageSection{.name = "", .length = 5000, .offset = sections[0].offset}}) {
    EXPECT_EQ(code_of(decode_image_sections(encode(std::vector{wrong}), header)), Errc::protocol);
  }
}

}  // namespace
}  // namespace ferry::wire
