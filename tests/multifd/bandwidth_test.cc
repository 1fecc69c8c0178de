#include "ferry/bandwidth.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/channels/io.h"
#include "tests/multifd/test_memory.h"
#include "tests/multifd/transfer.h"

namespace ferry::test {
namespace {

constexpr std::uint64_t k_an_hours_worth = 3600 * 1024;  // at a KiB a second

TEST(BandwidthLimit, OfNothingIsNoLimit) {
  BandwidthLimit limit;
  for (int i = 0; i < 1000; ++i) limit.acquire(UINT64_MAX / 2, {});
  EXPECT_EQ(limit.bytes_per_second(), 0u);
}

TEST(BandwidthLimit, AStopRequestEndsTheWait) {
  BandwidthLimit limit(1024);
  std::stop_source stop;
  limit.acquire(k_an_hours_worth, stop.get_token());  // overdraws
  BlockedThread waiting([&] { limit.acquire(1, stop.get_token()); });
  waiting.wait_until_asleep();
  stop.request_stop();
  waiting.join();
}

TEST(BandwidthLimit, ANewRateHoldsAtOnce) {
  BandwidthLimit limit(1024);
  limit.acquire(k_an_hours_worth, {});
  BlockedThread waiting([&] { limit.acquire(1, {}); });
  waiting.wait_until_asleep();
  limit.set(std::uint64_t{1} << 40);
  waiting.join();
  EXPECT_EQ(limit.bytes_per_second(), std::uint64_t{1} << 40);
}

TEST(BandwidthLimit, NoLimitAnyMoreLetsGoAtOnce) {
  BandwidthLimit limit(1024);
  limit.acquire(k_an_hours_worth, {});
  BlockedThread waiting([&] { limit.acquire(k_an_hours_worth, {}); });
  waiting.wait_until_asleep();
  limit.set(0);
  waiting.join();
  limit.acquire(1, {});
}

TEST(BandwidthLimit, HoldsForAllLanesTogether) {
  constexpr std::uint64_t k_bytes = 8 * 1024 * 1024;
  BandwidthLimit limit(32 * 1024 * 1024);
  TestMemory source(Reach::mapping, {k_bytes});
  TestMemory destination(Reach::mapping, {k_bytes});
  paint(source, Picture::noise, 1);
  Transfer transfer(source.memory(), destination.memory(),
                    {.lanes = 4, .sending = {.bandwidth = &limit}});
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(transfer.round(source.runs()));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_TRUE(same_bytes(destination.content(), source.content()));
  // A quarter of a second at the rate, less what may be overdrawn and saved up. However slow the
  // machine, it must not be less.
  EXPECT_GE(took.count(), 0.2);
}

}  // namespace
}  // namespace ferry::test
