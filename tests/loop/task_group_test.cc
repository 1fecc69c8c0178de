#include "loop/task_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "tests/loop/started.h"

namespace ferry {
namespace {

using namespace testing;
using std::chrono::hours;
using ::testing::ElementsAre;

class TaskGroupTest : public ::testing::Test {
 protected:
  /// Waits for a byte, and says who it was.
  Task<void> wait_for_byte(int fd, int number, Alive) {
    co_await loop_->ready(fd, Interest::read);
    ended_.push_back(number);
  }
  Task<void> end_at_once(int number, Alive) {
    ended_.push_back(number);
    co_return;
  }
  Task<void> fail_at_once(Alive) { co_await fail(Errc::guest, "of no interest"); }

  void run_until_ended(std::size_t tasks) {
    while (ended_.size() < tasks) {
      loop_->post([] {});
      run_one_turn(*loop_);
    }
  }

  std::unique_ptr<EventLoop> loop_ = new_loop();
  std::vector<int> ended_;
  int alive_ = 0;
};

TEST_F(TaskGroupTest, RunsItsTasksAndLetsGoOfThoseThatEnd) {
  TaskGroup group(*loop_);
  SocketPair one;
  SocketPair two;
  group.spawn(wait_for_byte(one.ours.get(), 1, Alive(alive_)));
  group.spawn(wait_for_byte(two.ours.get(), 2, Alive(alive_)));
  EXPECT_EQ(group.size(), 2u);
  two.make_ours_readable();
  run_until_ended(1);
  EXPECT_EQ(group.size(), 1u);
  one.make_ours_readable();
  run_until_ended(2);
  EXPECT_EQ(group.size(), 0u);
  EXPECT_THAT(ended_, ElementsAre(2, 1));
  run_one_turn(*loop_);
  EXPECT_EQ(alive_, 0) << "their frames are gone while the group lives";
}

TEST_F(TaskGroupTest, TakesTasksThatEndOrFailAtOnce) {
  TaskGroup group(*loop_);
  group.spawn(end_at_once(1, Alive(alive_)));
  group.spawn(fail_at_once(Alive(alive_)));
  group.spawn(end_at_once(2, Alive(alive_)));
  EXPECT_EQ(group.size(), 0u);
  EXPECT_THAT(ended_, ElementsAre(1, 2));
  run_one_turn(*loop_);
  EXPECT_EQ(alive_, 0);
}

TEST_F(TaskGroupTest, DropsTheTaskThatHasRunLongest) {
  TaskGroup group(*loop_);
  SocketPair pairs[3];
  for (int i = 0; i < 3; ++i) {
    group.spawn(wait_for_byte(pairs[i].ours.get(), i, Alive(alive_)));
  }
  group.drop_oldest();
  EXPECT_EQ(group.size(), 2u);
  EXPECT_EQ(alive_, 2);
  for (SocketPair& pair : pairs) pair.make_ours_readable();
  run_until_ended(2);
  EXPECT_THAT(ended_, ::testing::UnorderedElementsAre(1, 2));
}

TEST_F(TaskGroupTest, DoesNotTakeATaskThatHasEndedForTheOldest) {
  TaskGroup group(*loop_);
  SocketPair pairs[2];
  group.spawn(end_at_once(7, Alive(alive_)));  // its frame is there until the loop's next turn
  group.spawn(wait_for_byte(pairs[0].ours.get(), 0, Alive(alive_)));
  group.spawn(wait_for_byte(pairs[1].ours.get(), 1, Alive(alive_)));
  group.drop_oldest();
  EXPECT_EQ(group.size(), 1u);
  pairs[0].make_ours_readable();
  pairs[1].make_ours_readable();
  run_until_ended(2);
  EXPECT_THAT(ended_, ElementsAre(7, 1));
}

TEST_F(TaskGroupTest, DropsWhatIsLeftWhenItIsDestroyed) {
  SocketPair pair;
  {
    TaskGroup group(*loop_);
    group.spawn(wait_for_byte(pair.ours.get(), 1, Alive(alive_)));
    group.spawn(end_at_once(2, Alive(alive_)));
    EXPECT_GE(alive_, 1);
  }
  EXPECT_EQ(alive_, 0);
  pair.make_ours_readable();
  run_one_turn(*loop_);  // and the clean-up that was posted finds nothing to do
  run_one_turn(*loop_);
  EXPECT_THAT(ended_, ElementsAre(2));
}

TEST_F(TaskGroupTest, MayBeALocalOfATaskThatIsDropped) {
  SocketPair pair;
  const auto serve = [](EventLoop* loop, Task<void> member) -> Task<void> {
    TaskGroup group(*loop);
    group.spawn(std::move(member));
    co_await loop->sleep_until(Clock::now() + hours(24));
  };
  Started<void> server(serve(loop_.get(), wait_for_byte(pair.ours.get(), 1, Alive(alive_))));
  EXPECT_EQ(alive_, 1);
  server.drop();
  EXPECT_EQ(alive_, 0);
}

}  // namespace
}  // namespace ferry
