#include "console/progress_line.h"

#include <gtest/gtest.h>

namespace ferry {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t k_mib = 1 << 20;

Progress at(std::chrono::seconds elapsed, std::uint64_t done_mib) {
  return {.bytes_total = 4096 * k_mib,
          .bytes_done = done_mib * k_mib,
          .wire_bytes = 0,
          .elapsed = elapsed};
}

TEST(Pace, KnowsNothingBeforeTheFirstReport) {
  const Pace pace;
  EXPECT_EQ(pace.bytes_per_second(), 0);
  EXPECT_EQ(pace.time_left(), std::nullopt);
}

TEST(Pace, BeginsAtTheStartOfItAll) {
  Pace pace;
  pace.add(at(2s, 1024));
  EXPECT_EQ(pace.bytes_per_second(), 512.0 * k_mib);
  EXPECT_EQ(pace.time_left(), 6s);
}

TEST(Pace, ForgetsWhatIsLongAgo) {
  Pace pace;
  for (int second = 1; second <= 4; ++second)
    pace.add(at(std::chrono::seconds(second), 500u * second));
  for (int second = 5; second <= 12; ++second) {
    pace.add(at(std::chrono::seconds(second), 2000 + 10u * (second - 4)));
  }
  EXPECT_EQ(pace.bytes_per_second(), 10.0 * k_mib);
}

TEST(Pace, HasNoTimeLeftWhereItStandsStill) {
  Pace pace;
  for (int second = 1; second <= 10; ++second) pace.add(at(std::chrono::seconds(second), 100));
  EXPECT_EQ(pace.bytes_per_second(), 0);
  EXPECT_EQ(pace.time_left(), std::nullopt);
}

TEST(ProgressLine, HasDoneOfTotalShareRateAndTimeLeft) {
  Pace pace;
  pace.add(at(2s, 1024));
  EXPECT_EQ(progress_line(at(2s, 1024), pace, 80),
            "1.00 GiB of 4.00 GiB  25 %  512 MiB/s  ETA 0:06");
}

TEST(ProgressLine, LeavesOutWhatDoesNotFit) {
  Pace pace;
  pace.add(at(2s, 1024));
  const std::string whole = progress_line(at(2s, 1024), pace, 80);
  for (std::size_t width = 0; width < 80; ++width) {
    const std::string line = progress_line(at(2s, 1024), pace, width);
    EXPECT_LE(line.size(), width);
    EXPECT_TRUE(whole.starts_with(line));
  }
  EXPECT_EQ(progress_line(at(2s, 1024), pace, 30), "1.00 GiB of 4.00 GiB  25 %");
}

TEST(ProgressLine, SaysHundredOnlyWhenAllIsThere) {
  Pace pace;
  Progress progress = at(2s, 4096);
  progress.bytes_done -= 1;
  pace.add(progress);
  EXPECT_NE(progress_line(progress, pace, 80).find(" 99 %"), std::string::npos);
  progress.bytes_done += 1;
  EXPECT_NE(progress_line(progress, pace, 80).find(" 100 %"), std::string::npos);
}

TEST(ProgressLine, OfNothingIsAllOfIt) {
  EXPECT_NE(progress_line({}, {}, 80).find("0 B of 0 B  100 %"), std::string::npos);
}

}  // namespace
}  // namespace ferry
