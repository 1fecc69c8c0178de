#include "base/first_error.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace ferry {
namespace {

TEST(FirstError, HasNoneAtFirst) { EXPECT_FALSE(FirstError().get()); }

TEST(FirstError, KeepsTheFirstAndTellsWhoWasIt) {
  FirstError first;
  EXPECT_TRUE(first.set({Errc::timed_out, 0, "one", {}}));
  EXPECT_FALSE(first.set({Errc::cancelled, 0, "two", {}}));
  ASSERT_TRUE(first.get());
  EXPECT_EQ(first.get()->code, Errc::timed_out);
  EXPECT_EQ(first.get()->context, "one");
}

TEST(FirstError, GivesWayToABetterReason) {
  FirstError first;
  EXPECT_TRUE(first.set({Errc::disconnected, 0, "cut", {}}));
  first.replace({Errc::refused, 0, "the peer said so", {}});
  EXPECT_EQ(first.get()->code, Errc::refused);
  EXPECT_FALSE(first.set({Errc::cancelled, 0, "late", {}}));
}

TEST(FirstError, OfManyThreadsExactlyOneIsFirst) {
  FirstError first;
  std::atomic<int> winners = 0;
  std::atomic<int> winner = -1;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 8; ++thread) {
      threads.emplace_back([&, thread] {
        if (!first.set({Errc::system, thread, "failed", {}})) return;
        ++winners;
        winner = thread;
      });
    }
  }
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(first.get()->sys, winner);
}

}  // namespace
}  // namespace ferry
