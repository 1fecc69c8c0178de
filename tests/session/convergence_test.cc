#include "session/convergence.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace ferry {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using Verdict = Convergence::Verdict;

constexpr std::uint64_t k_one_mib = 1 << 20;
constexpr std::uint64_t k_gib = 1 << 30;

Convergence::Goal asked(nanoseconds max_downtime,
                        NotConverging otherwise = NotConverging::keep_trying) {
  return {.max_downtime = max_downtime, .allowance = 10ms, .otherwise = otherwise};
}

/// A round on a line of 1 GiB/s, behind which so much is dirty.
RoundFigures round_of(std::uint64_t sent, std::uint64_t dirty) {
  const nanoseconds time = time_for(sent, k_gib);
  return {.wire_bytes = sent, .time = time, .dirty_bytes = dirty, .dirty_time = time};
}

/// A guest that writes at a share of the line's rate to `working_set` bytes, migrated to its end.
struct Course {
  std::vector<Verdict> verdicts;
  std::uint64_t rest = 0;
  unsigned throttle = 0;
  Outlook outlook{};
};
Course migrate(Convergence convergence, double share, std::uint64_t working_set,
               unsigned most_rounds = 100) {
  Course course;
  std::uint64_t owed = 4 * k_gib;
  while (course.verdicts.size() < most_rounds) {
    const double speed = share * (100 - convergence.throttle()) / 100;
    const auto dirty =
        std::min(working_set, static_cast<std::uint64_t>(static_cast<double>(owed) * speed));
    course.verdicts.push_back(convergence.after_round(round_of(owed, dirty), 0ns));
    owed = course.rest = dirty;
    course.throttle = convergence.throttle();
    course.outlook = convergence.outlook();
    if (course.verdicts.back() == Verdict::switch_over ||
        course.verdicts.back() == Verdict::give_up) {
      break;
    }
  }
  return course;
}

TEST(Rates, AreBytesOverTime) {
  EXPECT_EQ(measured_rate(k_one_mib, 500ms), 2 * k_one_mib);
  EXPECT_EQ(measured_rate(k_one_mib, 0ns), 0u);
  EXPECT_EQ(measured_rate(0, 1s), 0u);
  EXPECT_EQ(time_for(k_one_mib, 2 * k_one_mib), 500ms);
  EXPECT_EQ(time_for(0, 0), 0ns);
  EXPECT_GT(time_for(1, 0), 24h);
  EXPECT_GT(time_for(UINT64_MAX, 1), 24h);
}

TEST(ExpectedDowntime, IsSendingTheRestAndThreeRoundTripsAndTheAllowance) {
  const SwitchCost cost{.allowance = 7ms, .round_trip = 2ms};
  EXPECT_EQ(expected_downtime(k_one_mib, 2 * k_one_mib, cost), 513ms);
  EXPECT_EQ(expected_downtime(0, 0, cost), 13ms);
  EXPECT_GT(expected_downtime(1, 0, cost), 24h);
}

TEST(TimeToSwitch, IsThatOfAllRoundsTogether) {
  EXPECT_EQ(time_to_switch(k_gib, 0, k_gib, 10ms), 1s);
  EXPECT_EQ(time_to_switch(k_gib, k_gib / 2, k_gib, 10ms), 2s);
  EXPECT_EQ(time_to_switch(0, 0, k_gib, 10ms), 10ms);
  EXPECT_EQ(time_to_switch(k_gib, k_gib, k_gib, 10ms), std::nullopt);
  EXPECT_EQ(time_to_switch(k_gib, 0, 0, 10ms), std::nullopt);
}

TEST(Convergence, SwitchesAtOnceWhenNothingIsDirtyWhateverWasAsked) {
  EXPECT_EQ(Convergence(asked(0ms)).after_round(round_of(4 * k_gib, 0), 1s), Verdict::switch_over);
  EXPECT_EQ(Convergence(asked(0ms)).after_round({}, 0ns), Verdict::switch_over);
}

TEST(Convergence, SwitchesAsSoonAsTheRestFitsIntoWhatWasAsked) {
  Convergence convergence(asked(60ms));  // of which 10 are the allowance
  EXPECT_EQ(convergence.after_round(round_of(4 * k_gib, k_gib), 0ns), Verdict::another_round);
  EXPECT_EQ(convergence.after_round(round_of(k_gib, 52 * k_one_mib), 0ns), Verdict::another_round);
  EXPECT_EQ(convergence.after_round(round_of(52 * k_one_mib, 51 * k_one_mib), 0ns),
            Verdict::switch_over);
  EXPECT_LE(convergence.expected(), 60ms);
  EXPECT_GT(convergence.expected(), 59ms);
}

TEST(Convergence, CountsTheLinesRoundTrips) {
  Convergence convergence(asked(60ms));
  EXPECT_EQ(convergence.after_round(round_of(4 * k_gib, k_one_mib), 17ms), Verdict::another_round);
  EXPECT_EQ(Convergence(asked(60ms)).after_round(round_of(4 * k_gib, k_one_mib), 16ms),
            Verdict::switch_over);
}

TEST(Convergence, MeasuresWhatASmallRoundCostsBesideSending) {
  for (const nanoseconds beside : {10ms, 20ms}) {
    Convergence convergence(asked(60ms));
    EXPECT_EQ(convergence.after_round(round_of(4 * k_gib, 60 * k_one_mib), 0ns),
              Verdict::another_round);
    RoundFigures small = round_of(10 * k_one_mib, k_one_mib);
    small.time += beside;  // a distant receiver
    EXPECT_EQ(convergence.after_round(small, 0ns),
              beside == 10ms ? Verdict::switch_over : Verdict::another_round);
  }
}

TEST(Convergence, JudgesTheLineByRoundsThatFillIt) {
  Convergence convergence(asked(60ms));
  convergence.after_round(round_of(4 * k_gib, k_gib), 0ns);
  EXPECT_EQ(convergence.bandwidth(), k_gib);
  // Over before it has begun: it takes as long as an answer.
  convergence.after_round({.wire_bytes = 4096, .time = 1ms, .dirty_bytes = k_gib, .dirty_time = 1s},
                          0ns);
  EXPECT_EQ(convergence.bandwidth(), k_gib);
  EXPECT_EQ(convergence.dirty_rate(), k_gib);
  // The line has become slower.
  convergence.after_round({.wire_bytes = k_gib, .time = 4s, .dirty_bytes = k_gib, .dirty_time = 4s},
                          0ns);
  EXPECT_EQ(convergence.bandwidth(), k_gib / 4);
}

TEST(Convergence, PromisesNothingByARoundThatKnowsOnlyAPartOfWhatWasWritten) {
  RoundFigures round = round_of(4 * k_gib, k_gib);
  Convergence knows_all(asked(60ms));
  knows_all.after_round(round, 0ns);
  EXPECT_EQ(knows_all.outlook(), Outlook::converging);
  EXPECT_TRUE(knows_all.eta());
  round.watched = Watched::part_by_part;
  Convergence convergence(asked(60ms));
  EXPECT_EQ(convergence.after_round(round, 0ns), Verdict::another_round);
  EXPECT_EQ(convergence.outlook(), Outlook::unknown);
  EXPECT_FALSE(convergence.eta());
  EXPECT_EQ(convergence.after_round(round_of(k_gib, k_gib / 4), 0ns), Verdict::another_round);
  EXPECT_EQ(convergence.outlook(), Outlook::converging);
  EXPECT_TRUE(convergence.eta());
  // What is left is known, however it came to be.
  round.dirty_bytes = k_one_mib;
  EXPECT_EQ(Convergence(asked(60ms)).after_round(round, 0ns), Verdict::switch_over);
}

TEST(Convergence, ComesToItsEndWithAGuestThatWritesSlowerThanTheLine) {
  for (const double share : {0.0, 0.1, 0.2, 0.5, 0.8}) {
    const Course course = migrate(Convergence(asked(50ms)), share, 4 * k_gib);
    EXPECT_EQ(course.verdicts.back(), Verdict::switch_over) << share;
    EXPECT_LE(course.rest, k_gib * 40 / 1000) << share;
    EXPECT_EQ(course.outlook, Outlook::converging) << share;
  }
}

TEST(Convergence, SaysSoWhereItWillNeverBe) {
  for (const double share : {1.0, 2.0}) {
    const Course course = migrate(Convergence(asked(50ms)), share, k_gib);
    EXPECT_EQ(course.verdicts.size(), 100u) << "it was to keep trying";
    EXPECT_EQ(course.outlook, Outlook::not_converging) << share;
  }
}

TEST(Convergence, KnowsThatAHandOverWhichTakesTooLongByItselfIsNoMatterOfRounds) {
  Convergence convergence(asked(5ms));
  convergence.after_round(round_of(4 * k_gib, k_one_mib), 0ns);
  EXPECT_EQ(convergence.outlook(), Outlook::not_converging);
  EXPECT_EQ(convergence.eta(), std::nullopt);
}

TEST(Convergence, GivesUpOnAGuestThatGetsAheadIfItIsTo) {
  const Course course = migrate(Convergence(asked(50ms, NotConverging::give_up)), 1.5, k_gib);
  EXPECT_EQ(course.verdicts.back(), Verdict::give_up);
  EXPECT_LT(course.verdicts.size(), 10u);
}

TEST(Convergence, GivesUpOnNobodyWhoGains) {
  const Course course = migrate(Convergence(asked(50ms, NotConverging::give_up)), 0.85, 4 * k_gib);
  EXPECT_EQ(course.verdicts.back(), Verdict::switch_over);
}

TEST(Convergence, SlowsAGuestOnlyAsFarAsItMust) {
  const Course course = migrate(Convergence(asked(50ms, NotConverging::throttle)), 1.5, 4 * k_gib);
  EXPECT_EQ(course.verdicts.back(), Verdict::switch_over);
  EXPECT_GE(course.throttle, 40u);
  EXPECT_LE(course.throttle, 60u);
  EXPECT_EQ(migrate(Convergence(asked(50ms, NotConverging::throttle)), 0.5, k_gib).throttle, 0u);
}

TEST(Convergence, SlowsAGuestTo99PercentAtMost) {
  const Course course = migrate(Convergence(asked(50ms, NotConverging::throttle)), 1000, 4 * k_gib);
  EXPECT_EQ(course.throttle, 99u);
  EXPECT_EQ(std::ranges::count(course.verdicts, Verdict::slow_down), 9);  // 20, 30, ... 90, 99
  EXPECT_EQ(course.outlook, Outlook::not_converging);
}

TEST(Convergence, GivesUpAfterAsManyRoundsAsItHas) {
  Convergence::Goal goal = asked(50ms);
  goal.max_rounds = 5;
  const Course course = migrate(Convergence(goal), 1.0, k_gib);
  EXPECT_EQ(course.verdicts.size(), 5u);
  EXPECT_EQ(course.verdicts.back(), Verdict::give_up);
}

TEST(Convergence, HasAnEtaThatGrowsShorter) {
  Convergence convergence(asked(50ms));
  convergence.after_round(round_of(4 * k_gib, 2 * k_gib), 0ns);
  ASSERT_EQ(convergence.eta(), 4s);
  convergence.after_round(round_of(2 * k_gib, k_gib), 0ns);
  EXPECT_EQ(convergence.eta(), 2s);
}

}  // namespace
}  // namespace ferry
