#include "console/amounts.h"

#include <gtest/gtest.h>

namespace ferry {
namespace {

using namespace std::chrono_literals;

TEST(Amounts, BytesHaveThreeDigitsAndABinaryUnit) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1024), "1.00 KiB");
  EXPECT_EQ(bytes_text(4097), "4.00 KiB");
  EXPECT_EQ(bytes_text(64u << 20), "64.0 MiB");
  EXPECT_EQ(bytes_text(std::uint64_t{1} << 30), "1.00 GiB");
  EXPECT_EQ(bytes_text(std::uint64_t{16} << 40), "16.0 TiB");
  EXPECT_EQ(bytes_text(UINT64_MAX), "16.0 EiB");
}

TEST(Amounts, RoundingNeverShowsAFourthDigit) {
  EXPECT_EQ(bytes_text((1u << 20) - 1), "1.00 MiB");
  EXPECT_EQ(bytes_text(10230), "9.99 KiB");
  EXPECT_EQ(bytes_text(10239), "10.0 KiB");
  EXPECT_EQ(bytes_text(102350), "100 KiB");
}

TEST(Amounts, RatesAreBytesASecond) {
  EXPECT_EQ(rate_text(2.5 * (1 << 30)), "2.50 GiB/s");
  EXPECT_EQ(rate_text(0), "0 B/s");
  EXPECT_EQ(rate_of(1000, 500ms), 2000);
  EXPECT_EQ(rate_of(1000, 0ns), 0);
}

TEST(Amounts, ARateIsReadAsPeopleTypeIt) {
  EXPECT_EQ(parse_rate("1"), 1u);
  EXPECT_EQ(parse_rate("512 KiB"), 512u * 1024);
  EXPECT_EQ(parse_rate("2GiB/s"), std::uint64_t{2} << 30);
  EXPECT_EQ(parse_rate("1.5M"), 3u << 19);
  EXPECT_EQ(parse_rate("100MB/s"), 100'000'000u);
}

TEST(Amounts, AnAmountIsARateWithoutItsTime) {
  EXPECT_EQ(parse_bytes("64MiB"), 64u << 20);
  EXPECT_EQ(parse_bytes("1.5 G"), 3u << 29);
  EXPECT_FALSE(parse_bytes("64MiB/s"));
  EXPECT_FALSE(parse_bytes("0"));
}

TEST(Amounts, WhatIsNoRateIsRefused) {
  for (const char* text : {"", "fast", "-1", "0", "0.4", "1 parsec", "1/s/s", "1 MiB/h", "nan",
                           "inf", "1e3", "99999999999 TiB", "1  MiB", " 1"}) {
    const auto rate = parse_rate(text);
    ASSERT_FALSE(rate) << text;
    EXPECT_EQ(rate.error().code, Errc::usage);
  }
}

TEST(Amounts, TimesAreSecondsUntilTheyAreLong) {
  EXPECT_EQ(seconds_text(520ms), "0.52 s");
  EXPECT_EQ(seconds_text(12345ms), "12.3 s");
  EXPECT_EQ(seconds_text(3723s), "1:02:03");
  EXPECT_EQ(clock_text(7s), "0:07");
  EXPECT_EQ(clock_text(723s), "12:03");
  EXPECT_EQ(clock_text(36000s), "10:00:00");
}

}  // namespace
}  // namespace ferry
