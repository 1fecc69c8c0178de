// What a layout may say.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/wire/control_frames.h"
#include "wire/control.h"

namespace ferry::wire {
namespace {

LayoutRegion region(std::string name, std::uint64_t length = k_unit_bytes) {
  return {.name = std::move(name), .length = length};
}

/// The frame of a layout that no encoder would write.
Bytes layout_frame(const std::vector<LayoutRegion>& regions, int more = 0) {
  return frame(1, [&](ByteWriter& out) {
    out.u16(static_cast<std::uint16_t>(static_cast<int>(regions.size()) + more));
    for (const LayoutRegion& r : regions) {
      out.string(r.name);
      out.u64(r.guest_address);
      out.u64(r.page_size);
      out.u64(r.length);
    }
  });
}

bool layout_decodes(const std::vector<LayoutRegion>& regions) {
  EXPECT_EQ(check_layout({regions}, Errc::usage).has_value(),
            decode_control(layout_frame(regions)).has_value());
  return comes_out(LayoutFrame{{regions}});
}
bool layout_is_refused(const std::vector<LayoutRegion>& regions) {
  const auto checked = check_layout({regions}, Errc::usage);
  EXPECT_TRUE(!checked && checked.error().code == Errc::usage) << "blames whom it is told to";
  return is_refused(layout_frame(regions));
}

TEST(ControlLayout, MayBeEmptyAndSoMayItsRegions) {
  EXPECT_TRUE(layout_decodes({}));
  EXPECT_TRUE(layout_decodes({region("a", 0)}));
}

TEST(ControlLayout, ANameHas1To255BytesAndNoNul) {
  EXPECT_TRUE(layout_decodes({region(std::string(1, 'a'))}));
  EXPECT_TRUE(layout_decodes({region(std::string(k_max_name_bytes, 'a'))}));
  EXPECT_TRUE(layout_is_refused({region("")}));
  EXPECT_TRUE(layout_is_refused({region(std::string(k_max_name_bytes + 1, 'a'))}));
  EXPECT_TRUE(layout_is_refused({region(std::string("a\0b", 3))}));
}

TEST(ControlLayout, NamesAreUnique) {
  EXPECT_TRUE(layout_decodes({region("a"), region("b"), region("A")}));
  EXPECT_TRUE(layout_is_refused({region("a"), region("b"), region("a")}));
}

TEST(ControlLayout, HasAThousandAndTwentyFourRegionsAtMost) {
  std::vector<LayoutRegion> regions;
  for (std::size_t i = 0; i < k_max_regions; ++i) {
    std::string name = std::to_string(i);
    name.resize(k_max_name_bytes, '.');
    regions.push_back(region(std::move(name)));
  }
  EXPECT_TRUE(layout_decodes(regions));
  regions.push_back(region("one more"));
  EXPECT_TRUE(layout_is_refused(regions));
}

TEST(ControlLayout, APageSizeIsAPowerOfTwoFrom4096ToOneGib) {
  const auto of_page_size = [](std::uint64_t size) {
    return std::vector{LayoutRegion{.name = "a", .page_size = size, .length = 1}};
  };
  EXPECT_TRUE(layout_decodes(of_page_size(4096)));
  EXPECT_TRUE(layout_decodes(of_page_size(2 << 20)));
  EXPECT_TRUE(layout_decodes(of_page_size(k_max_page_bytes)));
  for (const std::uint64_t bad : {std::uint64_t{0}, std::uint64_t{2048}, std::uint64_t{4097},
                                  std::uint64_t{12288}, 2 * k_gib, std::uint64_t{1} << 63}) {
    EXPECT_TRUE(layout_is_refused(of_page_size(bad))) << bad;
  }
}

TEST(ControlLayout, AllMemoryIs16TibAtMost) {
  EXPECT_TRUE(layout_decodes({region("a", k_max_memory_bytes)}));
  EXPECT_TRUE(layout_decodes({region("a", k_max_memory_bytes - 1), region("b", 1)}));
  EXPECT_TRUE(layout_is_refused({region("a", k_max_memory_bytes + 1)}));
  EXPECT_TRUE(layout_is_refused({region("a", k_max_memory_bytes), region("b", 1)}));
  // Lengths whose sum would be 0 in 64 bits.
  EXPECT_TRUE(layout_is_refused(
      {region("a", std::uint64_t{1} << 63), region("b", std::uint64_t{1} << 63)}));
  EXPECT_TRUE(layout_is_refused({region("a", 1), region("b", UINT64_MAX)}));
}

TEST(ControlLayout, ARegionEndsWithinTheGuestsAddresses) {
  constexpr std::uint64_t k_last_page = UINT64_MAX - 4095;
  EXPECT_TRUE(layout_decodes({{.name = "a", .guest_address = k_last_page, .length = 4096}}));
  EXPECT_TRUE(layout_is_refused({{.name = "a", .guest_address = k_last_page, .length = 4097}}));
  EXPECT_TRUE(layout_decodes({{.name = "a", .guest_address = UINT64_MAX, .length = 0}}));
}

TEST(ControlLayout, TheCountIsComparedWithTheBytesThatThereAre) {
  EXPECT_TRUE(is_refused(layout_frame({region("a")}, 1)));
  EXPECT_TRUE(is_refused(layout_frame({region("a")}, 1000)));
  EXPECT_TRUE(is_refused(layout_frame({region("a")}, -1)));
  EXPECT_TRUE(is_refused(layout_frame({region("a")}, -2))) << "65535";
}

TEST(ControlLayout, AnErrorShowsAHostileNameHarmlessly) {
  const auto decoded = decode_control(layout_frame({region("\x1b[2J"), region("\x1b[2J")}));
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().text().find('\x1b'), std::string::npos);
  EXPECT_NE(decoded.error().text().find("\\x1b[2J"), std::string::npos);
}

}  // namespace
}  // namespace ferry::wire
