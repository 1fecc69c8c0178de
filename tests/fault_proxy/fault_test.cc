#include "tests/fault_proxy/fault.h"

#include <gtest/gtest.h>

namespace ferry::test {
namespace {

TEST(Faults, AreWrittenAsTheyAreRead) {
  for (const char* text : {"flip:1:up:4096:3", "cut:0:down:100", "stall:2:up:0", "reorder:3",
                           "delay:0:up:84:250", "flip:0:up:0:0,cut:1:down:18446744073709551615"}) {
    const auto faults = parse_faults(text);
    ASSERT_TRUE(faults) << text;
    EXPECT_EQ(to_text(*faults), text);
  }
  EXPECT_TRUE(parse_faults("")->empty());
}

TEST(Faults, OtherTextsAreMistakes) {
  for (const char* text :
       {"flap:1:up:1:1", "flip:1:up:1", "flip:1:up:1:8", "cut:1:sideways:1", "cut:1:up:-1",
        "cut:1:up:x", "stall:1:up:1:1", "reorder", "reorder:1:2", "cut:0:up:1,", ","}) {
    const auto faults = parse_faults(text);
    ASSERT_FALSE(faults) << text;
    EXPECT_EQ(faults.error().code, Errc::usage);
  }
}

TEST(Faults, ASeedGivesTheSameOnesEverywhere) {
  EXPECT_EQ(to_text(faults_of(1, 2, 512 * 1024)), "cut:0:down:73");
  EXPECT_EQ(to_text(faults_of(2, 2, 512 * 1024)), "cut:1:up:989");
}

TEST(Faults, SeedsGiveEveryKindInBothDirections) {
  unsigned seen[5][2] = {};
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    for (const Fault& fault : faults_of(seed, 2, 512 * 1024)) {
      EXPECT_EQ(parse_fault(to_text(fault)), fault);
      ++seen[static_cast<unsigned>(fault.act)][static_cast<unsigned>(fault.direction)];
    }
  }
  for (unsigned act = 0; act < 4; ++act) {
    EXPECT_GT(seen[act][0], 0u) << act;
    EXPECT_GT(seen[act][1], 0u) << act;
  }
  EXPECT_GT(seen[4][0], 0u);
}

}  // namespace
}  // namespace ferry::test
