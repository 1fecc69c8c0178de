// What several runs say together.
#include "bench/measure.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace ferry::bench {
namespace {

/// Ferry's runs take a second each.
Runs runs_of(std::initializer_list<double> limit_seconds) {
  Runs runs;
  for (const double seconds : limit_seconds) {
    runs.ferry.push_back({.seconds = 1});
    runs.limit.push_back({.seconds = seconds});
  }
  return runs;
}

TEST(RatioOfPairs, IsThatOfPairsThatAgree) {
  EXPECT_DOUBLE_EQ(ratio_of_pairs(runs_of({1.25})), 1.25);
  EXPECT_DOUBLE_EQ(ratio_of_pairs(runs_of({0.5, 0.5, 0.5})), 0.5);
}

TEST(RatioOfPairs, OfTwoKindsIsBetweenThem) {
  EXPECT_DOUBLE_EQ(ratio_of_pairs(runs_of({0.5, 2, 0.5, 2, 0.5})), 1);
  EXPECT_DOUBLE_EQ(ratio_of_pairs(runs_of({2, 0.5, 2, 0.5, 2})), 1);
}

TEST(RatioOfPairs, IsNotMovedByOneThatIsFarOff) {
  EXPECT_NEAR(ratio_of_pairs(runs_of({1, 1.01, 0.99, 1.02, 100})), 1.01, 0.01);
  EXPECT_NEAR(ratio_of_pairs(runs_of({1, 1.01, 0.99, 1.02, 0.01})), 1.0, 0.01);
}

TEST(RatioOfPairs, TurnsWithWhoIsMeasured) {
  Runs runs = runs_of({0.7, 1.3, 0.9, 1.1});
  const double there = ratio_of_pairs(runs);
  std::swap(runs.ferry, runs.limit);
  EXPECT_NEAR(ratio_of_pairs(runs), 1 / there, 0.01);
}

}  // namespace
}  // namespace ferry::bench
