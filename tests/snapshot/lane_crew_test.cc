#include "snapshot/lane_crew.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

namespace ferry::test {
namespace {

TEST(LaneCrew, TheFirstFailureEndsWhatOtherLanesWaitFor) {
  LaneCrew crew;
  ASSERT_TRUE(crew.start("test", 3, [](unsigned lane, const std::stop_token& ending) {
    if (lane == 1) return Result<void>(fail(Errc::system, "lane 1"));
    std::mutex mutex;
    std::condition_variable_any ended;
    std::unique_lock lock(mutex);
    ended.wait(lock, ending, [] { return false; });
    return Result<void>();
  }));
  const Result<void> done = crew.finish();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().context, "lane 1");
}

TEST(LaneCrew, ACancelEndsWhatLanesWaitFor) {
  LaneCrew crew;
  ASSERT_TRUE(crew.start("test", 2, [](unsigned, const std::stop_token& ending) {
    std::mutex mutex;
    std::condition_variable_any ended;
    std::unique_lock lock(mutex);
    ended.wait(lock, ending, [] { return false; });
    return Result<void>();
  }));
  crew.cancel({Errc::cancelled, 0, "cancelled", {}});
  EXPECT_EQ(crew.finish().error().code, Errc::cancelled);
}

}  // namespace
}  // namespace ferry::test
