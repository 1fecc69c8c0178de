#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

#include "ferry/event_loop.h"
#include "tests/loop/started.h"

namespace ferry {
namespace {

using namespace testing;

class BlockOnTest : public ::testing::Test {
 protected:
  ~BlockOnTest() override {
    loop_->stop();
    thread_.join();
  }

  std::unique_ptr<EventLoop> loop_ = new_loop();
  std::thread thread_{[this] { loop_->run(); }};
};

/// Notes which thread destroyed it. Written on the loop's thread, read when block_on() has
/// returned.
class Witness {
 public:
  explicit Witness(std::thread::id& destroyed_by) noexcept : destroyed_by_(&destroyed_by) {}
  Witness(Witness&& other) noexcept : destroyed_by_(std::exchange(other.destroyed_by_, nullptr)) {}
  ~Witness() {
    if (destroyed_by_) *destroyed_by_ = std::this_thread::get_id();
  }

 private:
  std::thread::id* destroyed_by_;
};

Task<std::thread::id> thread_of(EventLoop& loop) {
  co_await loop.sleep_until(Clock::time_point{});
  co_return std::this_thread::get_id();
}

TEST_F(BlockOnTest, RunsTheTaskOnTheLoopsThread) {
  EXPECT_EQ(block_on(*loop_, thread_of(*loop_)).value(), thread_.get_id());
}

Task<std::unique_ptr<int>> gives_an_owned_int(int value) { co_return std::make_unique<int>(value); }

TEST_F(BlockOnTest, GivesAValueThatCanOnlyBeMoved) {
  EXPECT_EQ(*block_on(*loop_, gives_an_owned_int(3)).value(), 3);
}

Task<void> fails() { co_await fail(Errc::guest, "fail"); }

TEST_F(BlockOnTest, GivesTheFailure) {
  EXPECT_EQ(block_on(*loop_, fails()).error().code, Errc::guest);
}

Task<void> waits(EventLoop& loop, Witness, std::latch& begun) {
  begun.count_down();
  co_await loop.sleep_until(Clock::time_point::max());
}

TEST_F(BlockOnTest, AStopRequestDropsTheTaskOnTheLoopsThread) {
  std::latch begun(1);
  std::stop_source stop;
  std::jthread stopper([&] {
    begun.wait();
    stop.request_stop();
  });
  std::thread::id dropped_by;
  const auto result = block_on(*loop_, waits(*loop_, Witness(dropped_by), begun), stop.get_token());
  EXPECT_EQ(result.error().code, Errc::cancelled);
  EXPECT_EQ(dropped_by, thread_.get_id());
}

TEST_F(BlockOnTest, AStopRequestThatCameBeforeKeepsTheTaskFromBeginning) {
  std::latch begun(1);
  std::stop_source stop;
  stop.request_stop();
  std::thread::id dropped_by;
  const auto result = block_on(*loop_, waits(*loop_, Witness(dropped_by), begun), stop.get_token());
  EXPECT_EQ(result.error().code, Errc::cancelled);
  EXPECT_FALSE(begun.try_wait());
  EXPECT_EQ(dropped_by, thread_.get_id());
}

TEST_F(BlockOnTest, AStopRequestThatComesAfterIsOfNoMatter) {
  std::stop_source stop;
  EXPECT_EQ(*block_on(*loop_, gives_an_owned_int(3), stop.get_token()).value(), 3);
  stop.request_stop();
}

Task<int> stops_itself(std::stop_source stop) {
  stop.request_stop();
  co_return 3;
}

TEST_F(BlockOnTest, ATaskThatEndsAfterItWasStoppedKeepsItsValue) {
  std::stop_source stop;
  EXPECT_EQ(block_on(*loop_, stops_itself(stop), stop.get_token()).value(), 3);
}

Task<void> stops_itself_and_waits(EventLoop& loop, std::stop_source stop) {
  stop.request_stop();
  co_await loop.sleep_until(Clock::time_point::max());
}

TEST_F(BlockOnTest, ATaskMayRequestItsOwnStop) {
  std::stop_source stop;
  const auto result = block_on(*loop_, stops_itself_and_waits(*loop_, stop), stop.get_token());
  EXPECT_EQ(result.error().code, Errc::cancelled);
}

Task<int> says_and_naps(EventLoop& loop, Witness, std::latch& begun) {
  begun.count_down();
  co_await loop.sleep_until(Clock::time_point{});
  co_return 3;
}

TEST_F(BlockOnTest, AStopThatRacesWithTheEndGivesOneOrTheOther) {
  for (int round = 0; round < 500; ++round) {
    std::latch begun(1);
    std::stop_source stop;
    std::jthread stopper([&] {
      begun.wait();
      stop.request_stop();
    });
    std::thread::id dropped_by;
    const auto result =
        block_on(*loop_, says_and_naps(*loop_, Witness(dropped_by), begun), stop.get_token());
    EXPECT_EQ(dropped_by, thread_.get_id());
    if (result) {
      EXPECT_EQ(*result, 3);
    } else {
      EXPECT_EQ(result.error().code, Errc::cancelled);
    }
  }
}

TEST_F(BlockOnTest, MayBeCalledFromManyThreadsAtOnce) {
  std::vector<std::jthread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([this] {
      for (int round = 0; round < 200; ++round) {
        EXPECT_EQ(block_on(*loop_, thread_of(*loop_)).value(), thread_.get_id());
      }
    });
  }
}

}  // namespace
}  // namespace ferry
