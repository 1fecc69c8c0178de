#include "loop/background.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <optional>
#include <thread>

#include "tests/channels/loop_thread.h"
#include "tests/loop/started.h"

namespace ferry {
namespace {

using std::chrono::hours;
using test::LoopThread;
using testing::Alive;

/// Says that it has begun, and waits longer than any test.
Task<void> wait_long(EventLoop& loop, Alive, std::latch& begun) {
  begun.count_down();
  co_await loop.sleep_until(Clock::now() + hours(24));
  ADD_FAILURE() << "nobody waited for that";
}

TEST(Background, RunsItsTaskOnTheLoopsThread) {
  LoopThread thread;
  std::latch ended(1);
  std::thread::id ran_on;
  // Not a capturing lambda: its parameters live in the coroutine.
  const auto task = [](std::thread::id* on, std::latch* end) -> Task<void> {
    *on = std::this_thread::get_id();
    end->count_down();
    co_return;
  };
  const Background background(thread.loop(), task(&ran_on, &ended));
  ended.wait();
  EXPECT_NE(ran_on, std::this_thread::get_id());
}

TEST(Background, DropsATaskThatWaits) {
  LoopThread thread;
  int alive = 0;
  std::latch begun(1);
  {
    const Background background(thread.loop(), wait_long(thread.loop(), Alive(alive), begun));
    begun.wait();
  }
  EXPECT_EQ(alive, 0) << "what the task had is gone when the destructor returns";
}

TEST(Background, DropsATaskThatHasNotBegun) {
  LoopThread thread;
  for (int i = 0; i < 200; ++i) {
    int alive = 0;
    std::latch begun(1);
    { const Background background(thread.loop(), wait_long(thread.loop(), Alive(alive), begun)); }
    ASSERT_EQ(alive, 0);
  }
}

TEST(Background, DoesNotMindATaskThatHasEndedOrFailed) {
  LoopThread thread;
  const auto fails = [](std::latch* end) -> Task<void> {
    end->count_down();
    co_await fail(Errc::guest, "of no interest");
  };
  for (int i = 0; i < 200; ++i) {
    std::latch ended(1);
    const Background background(thread.loop(), fails(&ended));
    if (i % 2 == 0) ended.wait();
  }
}

TEST(Background, DropsItsTaskOnTheLoopsThread) {
  LoopThread thread;
  struct WhereItGoes {
    explicit WhereItGoes(std::thread::id& id) : id_(&id) {}
    WhereItGoes(WhereItGoes&& other) noexcept : id_(std::exchange(other.id_, nullptr)) {}
    ~WhereItGoes() {
      if (id_) *id_ = std::this_thread::get_id();
    }
    std::thread::id* id_;
  };
  const auto waits = [](EventLoop* loop, WhereItGoes, std::latch* begun) -> Task<void> {
    begun->count_down();
    co_await loop->sleep_until(Clock::now() + hours(24));
  };
  std::thread::id went_on;
  std::latch begun(1);
  {
    WhereItGoes local(went_on);
    const Background background(thread.loop(), waits(&thread.loop(), std::move(local), &begun));
    begun.wait();
  }
  EXPECT_NE(went_on, std::thread::id());
  EXPECT_NE(went_on, std::this_thread::get_id());
}

}  // namespace
}  // namespace ferry
