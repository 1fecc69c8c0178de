#include "loop/race.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/loop/started.h"

namespace ferry::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Clock::duration k_never = 1h;  // so long that a test which waits for it fails

/// What a race of numbers came to.
struct Ended {
  std::optional<int> won;
  std::vector<std::string> failures;
};

Task<Ended> run_race(EventLoop& loop, Clock::duration stagger, std::vector<Task<int>> attempts) {
  Race<int> race(loop, stagger, std::move(attempts));
  Ended ended;
  ended.won = co_await race;
  for (const Error& error : race.failures()) ended.failures.push_back(error.text());
  co_return std::move(ended);
}

/// Tells what became of an attempt, also when it is dropped.
struct Trace {
  std::vector<std::string> started;
  int alive = 0;
};

Task<int> begin(Trace& trace, std::string name) {
  trace.started.push_back(std::move(name));
  co_return 0;
}

Task<int> succeeds_at(EventLoop& loop, Trace& trace, Clock::time_point when, int value) {
  const Alive alive(trace.alive);
  co_await begin(trace, std::to_string(value));
  co_await loop.sleep_until(when);
  co_return value;
}

Task<int> fails_at(EventLoop& loop, Trace& trace, Clock::time_point when, std::string why) {
  const Alive alive(trace.alive);
  co_await begin(trace, why);
  co_await loop.sleep_until(when);
  co_return fail(Errc::unreachable, why);
}

Task<int> fails_at_once(std::string why) { co_return fail(Errc::unreachable, why); }
Task<int> succeeds_at_once(int value) { co_return value; }

class RaceTest : public ::testing::Test {
 protected:
  template <class... Attempts>
  Task<Ended> race(Clock::duration stagger, Attempts... attempts) {
    std::vector<Task<int>> all;
    (all.push_back(std::move(attempts)), ...);
    return run_race(*loop_, stagger, std::move(all));
  }
  template <class... Attempts>
  Ended ended(Clock::duration stagger, Attempts... attempts) {
    return run_to_end(*loop_, race(stagger, std::move(attempts)...)).value();
  }
  Task<int> hangs(int value) { return succeeds_at(*loop_, trace_, Clock::now() + k_never, value); }
  Task<int> soon(int value) { return succeeds_at(*loop_, trace_, Clock::now() + 1ms, value); }
  Task<int> soon_fails(std::string why) {
    return fails_at(*loop_, trace_, Clock::now() + 1ms, std::move(why));
  }

  std::unique_ptr<EventLoop> loop_ = new_loop();
  Trace trace_;
};

TEST_F(RaceTest, TheFirstThatSucceedsWinsAndTheOthersAreDropped) {
  const Ended end = ended(1ms, hangs(1), hangs(2), soon(3), hangs(4));
  EXPECT_EQ(end.won, 3);
  EXPECT_THAT(end.failures, IsEmpty());
  EXPECT_EQ(trace_.alive, 0);
}

TEST_F(RaceTest, NoOtherIsStartedWhenTheFirstSucceeds) {
  EXPECT_EQ(ended(k_never, soon(1), hangs(2)).won, 1);
  EXPECT_THAT(trace_.started, ElementsAre("1"));
}

TEST_F(RaceTest, NoOtherIsStartedWhenTheFirstSucceedsAtOnce) {
  EXPECT_EQ(ended(0ms, succeeds_at_once(7), hangs(2)).won, 7);
  EXPECT_THAT(trace_.started, IsEmpty());
}

TEST_F(RaceTest, TheNextStartsAtOnceWhenOneFails) {
  const Ended end = ended(k_never, soon_fails("one"), fails_at_once("two"), soon(3), hangs(4));
  EXPECT_EQ(end.won, 3);
  EXPECT_THAT(end.failures, ElementsAre("one", "two"));
  EXPECT_THAT(trace_.started, ElementsAre("one", "3"));
}

TEST_F(RaceTest, TheNextStartsWhenTheStaggerHasPassed) {
  EXPECT_EQ(ended(1ms, hangs(1), hangs(2), succeeds_at_once(3)).won, 3);
  EXPECT_THAT(trace_.started, ElementsAre("1", "2"));
}

TEST_F(RaceTest, AFailureMakesWayThoughAnEarlierOneHangs) {
  // By the failure alone: the stagger has passed once, and does not pass again.
  EXPECT_EQ(ended(30ms, hangs(1), fails_at_once("two"), fails_at_once("three"), soon(4)).won, 4);
}

TEST_F(RaceTest, WithoutAStaggerAllStartTogether) {
  Started<Ended> running(race(0ms, hangs(1), hangs(2), hangs(3)));
  EXPECT_THAT(trace_.started, ElementsAre("1", "2", "3"));
}

TEST_F(RaceTest, FailuresAreInTheOrderOfTheAttempts) {
  const auto later = Clock::now() + 5ms;
  const Ended end = ended(0ms, fails_at(*loop_, trace_, later, "one"), soon_fails("two"));
  EXPECT_EQ(end.won, std::nullopt);
  EXPECT_THAT(end.failures, ElementsAre("one", "two"));
}

TEST_F(RaceTest, WhatAFailedAttemptHeldIsGoneWhileOthersRun) {
  Started<Ended> running(race(k_never, fails_at(*loop_, trace_, Clock::now(), "one"), hangs(2)));
  EXPECT_EQ(trace_.alive, 1);
  while (trace_.started.size() < 2) run_one_turn(*loop_);
  EXPECT_EQ(trace_.alive, 1);
}

TEST_F(RaceTest, DroppingItDropsEveryAttempt) {
  {
    Started<Ended> running(race(0ms, hangs(1), hangs(2)));
    EXPECT_EQ(trace_.alive, 2);
  }
  EXPECT_EQ(trace_.alive, 0);
  {
    Started<Ended> running(race(1ms, hangs(1), hangs(2)));
    running.drop();
  }
  EXPECT_EQ(trace_.alive, 0);
  EXPECT_EQ(ended(0ms, soon(5)).won, 5) << "nothing of the dropped ones is left on the loop";
}

TEST_F(RaceTest, NobodyWinsWhereNobodyRuns) {
  const Ended end = ended(1ms);
  EXPECT_EQ(end.won, std::nullopt);
  EXPECT_THAT(end.failures, IsEmpty());
}

TEST_F(RaceTest, AsManyAsThereAreMayFailWithoutWaiting) {
  std::vector<Task<int>> attempts;
  for (int i = 0; i < 100'000; ++i) attempts.push_back(fails_at_once("no"));
  attempts.push_back(succeeds_at_once(1));
  const Ended end = run_to_end(*loop_, run_race(*loop_, k_never, std::move(attempts))).value();
  EXPECT_EQ(end.won, 1);
  EXPECT_EQ(end.failures.size(), 100'000u);
}

}  // namespace
}  // namespace ferry::testing
