#include "session/convergence.h"

#include <gtest/gtest.h>

namespace ferry {
namespace {

constexpr std::uint64_t k_gib = std::uint64_t{1} << 30;
constexpr std::uint64_t k_small_rest = 12 * 1024 * 1024;

TEST(Convergence, StopsAtOnceWhenNothingIsDirty) {
  Convergence convergence;
  EXPECT_FALSE(convergence.another_round(0));
}

TEST(Convergence, StopsWhenTheRestIsSmall) {
  Convergence convergence;
  EXPECT_TRUE(convergence.another_round(k_small_rest + 1));
  EXPECT_FALSE(convergence.another_round(k_small_rest));
}

TEST(Convergence, GoesOnWhileEachRoundLeavesClearlyLess) {
  Convergence convergence;
  for (std::uint64_t dirty = 8 * k_gib; dirty > k_small_rest; dirty /= 2) {
    EXPECT_TRUE(convergence.another_round(dirty)) << dirty;
  }
}

TEST(Convergence, StopsWhenARoundGainsNoMoreThanATenth) {
  Convergence convergence;
  EXPECT_TRUE(convergence.another_round(10 * k_gib));
  EXPECT_TRUE(convergence.another_round(9 * k_gib - 1));
  EXPECT_FALSE(convergence.another_round(9 * k_gib - 2));
}

TEST(Convergence, StopsWhenTheGuestGetsAhead) {
  Convergence convergence;
  EXPECT_TRUE(convergence.another_round(k_gib));
  EXPECT_FALSE(convergence.another_round(2 * k_gib));
}

TEST(Convergence, EndsAfterThirtyRoundsHoweverWellItGoes) {
  Convergence convergence;
  std::uint64_t dirty = std::uint64_t{1} << 50;
  unsigned rounds = 0;
  while (convergence.another_round(dirty) && rounds < 1000) {
    dirty -= dirty / 8;  // still far from small by then
    ++rounds;
  }
  EXPECT_GT(dirty, k_small_rest);
  EXPECT_EQ(rounds, 29u);  // the first round, of everything, is not asked for
}

}  // namespace
}  // namespace ferry
