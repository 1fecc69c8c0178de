#include "ferry/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <latch>
#include <memory>
#include <ranges>
#include <string>
#include <thread>
#include <vector>

#include "tests/loop/started.h"

namespace ferry {
namespace {

using namespace testing;
using ::testing::ElementsAre;

constexpr auto k_never = Clock::time_point::max();

Task<int> gives(int value) { co_return value; }
Task<std::unique_ptr<int>> gives_owned(int value) { co_return std::make_unique<int>(value); }
Task<int> fails(std::string why) {
  co_await fail(Errc::guest, std::move(why));
  co_return 0;
}

TEST(Task, IsLazy) {
  int alive = 0;
  struct Begins {
    static Task<void> task(bool& begun, Alive) {
      begun = true;
      co_return;
    }
  };
  bool begun = false;
  Task<void> task = Begins::task(begun, Alive(alive));
  EXPECT_FALSE(begun);
  EXPECT_EQ(alive, 1);
  task = {};
  EXPECT_FALSE(begun);
  EXPECT_EQ(alive, 0);
}

Task<int> sum(int a, int b) {
  const int first = co_await gives(a);
  const int second = co_await gives(b);
  co_return first + second;
}

TEST(Task, GivesItsValue) {
  Started<int> task(sum(1, 2));
  ASSERT_TRUE(task.ended());
  EXPECT_EQ(task.result().value(), 3);
}

Task<std::unique_ptr<int>> passes_on() {
  std::unique_ptr<int> owned = co_await gives_owned(4);
  ++*owned;
  co_return std::move(owned);
}

TEST(Task, GivesAValueThatCanOnlyBeMoved) {
  Started<std::unique_ptr<int>> task(passes_on());
  ASSERT_TRUE(task.ended());
  EXPECT_EQ(*task.result().value(), 5);
}

/// Notes when it is destroyed.
struct Note {
  Note(std::vector<std::string>& in, std::string of) : notes(&in), name(std::move(of)) {}
  Note(Note&& other) noexcept : notes(std::exchange(other.notes, nullptr)), name(other.name) {}
  ~Note() {
    if (notes) notes->push_back(name);
  }
  std::vector<std::string>* notes;
  std::string name;
};

Task<int> innermost(std::vector<std::string>& notes) {
  const Note local(notes, "innermost");
  const int value = co_await fails("deep down");
  notes.push_back("not reached");
  co_return value;
}
Task<int> middle(std::vector<std::string>& notes) {
  const Note local(notes, "middle");
  const int value = co_await innermost(notes);
  notes.push_back("not reached");
  co_return value;
}
Task<std::string> outermost(std::vector<std::string>& notes) {
  const Note local(notes, "outermost");
  const int value = co_await middle(notes);
  notes.push_back("not reached");
  co_return std::to_string(value);
}

TEST(Task, AFailureEndsAllThatAwaitItAndDestroysTheirLocals) {
  std::vector<std::string> notes;
  Started<std::string> task(outermost(notes));
  ASSERT_TRUE(task.ended());
  EXPECT_EQ(task.result().error().code, Errc::guest);
  EXPECT_EQ(task.result().error().context, "deep down");
  task.drop();
  EXPECT_THAT(notes, ElementsAre("innermost", "middle", "outermost"));
}

Task<int> fails_later(EventLoop& loop) {
  co_await loop.sleep_until(Clock::time_point{});
  co_await fail(Errc::guest, "later");
  co_return 1;
}
Task<int> awaits_what_fails_later(EventLoop& loop, std::vector<std::string>& notes) {
  const Note local(notes, "local");
  const int value = co_await fails_later(loop);
  notes.push_back("not reached");
  co_return value;
}

TEST(Task, AFailureAfterAWaitEndsAllThatAwaitIt) {
  auto loop = new_loop();
  std::vector<std::string> notes;
  const auto result = run_to_end(*loop, awaits_what_fails_later(*loop, notes));
  EXPECT_EQ(result.error().context, "later");
  EXPECT_THAT(notes, ElementsAre("local"));
}

Task<int> unwraps(Result<int> result) {
  const int value = co_await std::move(result);
  co_return value + 1;
}

TEST(Task, AResultIsAwaitedForItsValueOrEndsTheTask) {
  Started<int> good(unwraps(1));
  EXPECT_EQ(good.result().value(), 2);
  Started<int> bad(unwraps(fail(Errc::protocol, "bad")));
  EXPECT_EQ(bad.result().error().code, Errc::protocol);
}

Task<std::string> looks_at(Task<int> task) {
  const Result<int> result = co_await std::move(task).caught();
  co_return result ? std::to_string(*result) : result.error().context;
}

TEST(Task, CaughtGivesTheResultInsteadOfEnding) {
  Started<std::string> good(looks_at(gives(7)));
  EXPECT_EQ(good.result().value(), "7");
  Started<std::string> bad(looks_at(fails("seen")));
  EXPECT_EQ(bad.result().value(), "seen");
}

Task<std::string> looks_at_later(EventLoop& loop) {
  const Result<int> result = co_await fails_later(loop).caught();
  co_return result ? "?" : result.error().context;
}

TEST(Task, CaughtGivesAFailureThatComesLater) {
  auto loop = new_loop();
  EXPECT_EQ(run_to_end(*loop, looks_at_later(*loop)).value(), "later");
}

Task<long> awaits_many(int count) {
  long total = 0;
  for (int i = 0; i < count; ++i) {
    total += co_await gives(1);
    const Result<int> failed = co_await fails("each time").caught();
    if (!failed) ++total;
  }
  co_return total;
}

TEST(Task, ALoopOverTasksThatEndAtOnceDoesNotUseUpTheStack) {
  Started<long> task(awaits_many(100'000));
  ASSERT_TRUE(task.ended());
  EXPECT_EQ(task.result().value(), 200'000);
}

template <class T>
Task<void> waits_then_notes(Task<T> task, Alive, bool& resumed) {
  const Result<T> result = co_await std::move(task).caught();
  resumed = true;
}

/// Each way to wait is dropped where it waits; then what it waited for happens.
class DroppedTest : public ::testing::Test {
 protected:
  template <class T>
  void drop(Task<T> task) {
    int alive = 0;
    Started<void> waiting(waits_then_notes(std::move(task), Alive(alive), resumed_));
    EXPECT_FALSE(waiting.ended());
    EXPECT_EQ(alive, 1);
    waiting.drop();
    EXPECT_EQ(alive, 0);
  }
  ~DroppedTest() override {
    for (int i = 0; i < 3; ++i) run_one_turn(*loop_);
    EXPECT_FALSE(resumed_);
  }

  std::unique_ptr<EventLoop> loop_ = new_loop();
  bool resumed_ = false;
};

TEST_F(DroppedTest, AWaitForADescriptor) {
  SocketPair line;
  drop(loop_->ready(line.ours.get(), Interest::read));
  line.make_ours_readable();
  run_one_turn(*loop_);
}

TEST_F(DroppedTest, ASleep) { drop(loop_->sleep_until(Clock::time_point{})); }

std::ptrdiff_t thread_count() {
  return std::ranges::distance(std::filesystem::directory_iterator("/proc/self/task"));
}

TEST_F(DroppedTest, AWaitForAHelperThread) {
  std::thread([] {}).join();  // a sanitizer starts a thread of its own along with the first
  const auto before = thread_count();
  const auto hang = std::make_shared<std::latch>(1);
  drop(loop_->on_helper_thread([hang] { hang->wait(); }));
  hang->count_down();
  while (thread_count() > before) run_one_turn(*loop_);  // what it reports, it does before its end
}

TEST_F(DroppedTest, AWaitForASignal) { drop(loop_->signal({SIGRTMIN})); }

TEST_F(DroppedTest, AWaitThatIsOver) {
  SocketPair line;
  drop(loop_->within(Clock::time_point{}, loop_->ready(line.ours.get(), Interest::read), "wait"));
}

TEST_F(DroppedTest, AWaitWithADeadline) {
  SocketPair line;
  drop(loop_->within(k_never, loop_->ready(line.ours.get(), Interest::read), "wait"));
  line.make_ours_readable();
  run_one_turn(*loop_);
}

TEST_F(DroppedTest, AWaitForAll) {
  SocketPair line;
  std::vector<Task<Interest>> tasks;
  for (int i = 0; i < 3; ++i) tasks.push_back(loop_->ready(line.ours.get(), Interest::read));
  drop(loop_->all(std::move(tasks)));
  line.make_ours_readable();
  run_one_turn(*loop_);
}

Task<Interest> waits_with(EventLoop& loop, Alive, int fd) {
  const Interest ready = co_await loop.ready(fd, Interest::read);
  co_return ready;
}

class WithinTest : public ::testing::Test {
 protected:
  Task<Interest> wait() { return waits_with(*loop_, Alive(alive_), line_.ours.get()); }

  std::unique_ptr<EventLoop> loop_ = new_loop();
  SocketPair line_;
  int alive_ = 0;
};

TEST_F(WithinTest, GivesTheValueOfATaskThatIsInTime) {
  line_.make_ours_readable();
  const auto result = run_to_end(*loop_, loop_->within(k_never, wait(), "wait"));
  EXPECT_EQ(result.value(), Interest::read);
}

TEST_F(WithinTest, GivesTheFailureOfATaskThatIsInTime) {
  const auto result = run_to_end(*loop_, loop_->within(k_never, fails_later(*loop_), "wait"));
  EXPECT_EQ(result.error().code, Errc::guest);
}

TEST_F(WithinTest, GivesWhatComesAtOnceAlthoughTheDeadlineHasPassed) {
  const Clock::time_point past{};
  EXPECT_EQ(run_to_end(*loop_, loop_->within(past, gives(3), "give")).value(), 3);
  EXPECT_EQ(run_to_end(*loop_, loop_->within(past, fails("no"), "give")).error().context, "no");
  EXPECT_EQ(*run_to_end(*loop_, loop_->within(past, gives_owned(3), "give")).value(), 3);
}

TEST_F(WithinTest, DropsATaskThatIsLateAndSaysWhatItWas) {
  const auto soon = Clock::now() + std::chrono::milliseconds(1);
  const auto result = run_to_end(*loop_, loop_->within(soon, wait(), "greet tcp://node7:4446"));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, Errc::timed_out);
  EXPECT_EQ(result.error().text(), "greet tcp://node7:4446: timed out");
  EXPECT_EQ(alive_, 0);
}

Task<void> sleeps(EventLoop& loop, Clock::time_point until) { co_await loop.sleep_until(until); }

TEST_F(WithinTest, TakesTasksWithoutAValue) {
  EXPECT_TRUE(run_to_end(*loop_, loop_->within(k_never, sleeps(*loop_, {}), "nap")).has_value());
  const auto late = run_to_end(*loop_, loop_->within({}, sleeps(*loop_, k_never), "sleep"));
  EXPECT_EQ(late.error().code, Errc::timed_out);
}

TEST_F(WithinTest, MayBeNested) {
  auto inner = loop_->within({}, wait(), "inner");
  const auto result = run_to_end(*loop_, loop_->within(k_never, std::move(inner), "outer"));
  EXPECT_EQ(result.error().text(), "inner: timed out");
}

Task<int> later(EventLoop& loop, int value, Clock::time_point when) {
  co_await loop.sleep_until(when);
  co_return value;
}

class AllTest : public WithinTest {
 protected:
  Task<int> waits_forever() { return waits_and_gives(*loop_, Alive(alive_), line_.ours.get()); }
  static Task<int> waits_and_gives(EventLoop& loop, Alive, int fd) {
    co_await loop.ready(fd, Interest::read);
    co_return 0;
  }
};

TEST_F(AllTest, GivesTheResultsInTheOrderOfTheTasks) {
  const auto past = Clock::now() - std::chrono::seconds(1);
  std::vector<Task<int>> tasks;
  tasks.push_back(later(*loop_, 1, past + std::chrono::milliseconds(2)));
  tasks.push_back(gives(2));
  tasks.push_back(later(*loop_, 3, past));
  EXPECT_THAT(run_to_end(*loop_, loop_->all(std::move(tasks))).value(), ElementsAre(1, 2, 3));
}

TEST_F(AllTest, GivesValuesThatCanOnlyBeMoved) {
  std::vector<Task<std::unique_ptr<int>>> tasks;
  tasks.push_back(gives_owned(1));
  tasks.push_back(gives_owned(2));
  const auto result = run_to_end(*loop_, loop_->all(std::move(tasks)));
  ASSERT_EQ(result.value().size(), 2u);
  EXPECT_EQ(*(*result)[1], 2);
}

TEST_F(AllTest, OfNothingIsNothing) {
  EXPECT_TRUE(run_to_end(*loop_, loop_->all(std::vector<Task<int>>())).value().empty());
}

TEST_F(AllTest, TheFirstFailureDropsTheOthers) {
  std::vector<Task<int>> tasks;
  tasks.push_back(waits_forever());
  tasks.push_back(fails_later(*loop_));
  tasks.push_back(waits_forever());
  EXPECT_EQ(run_to_end(*loop_, loop_->all(std::move(tasks))).error().context, "later");
  EXPECT_EQ(alive_, 0);
}

TEST_F(AllTest, AFailureAtOnceDropsTheOthersToo) {
  std::vector<Task<int>> tasks;
  tasks.push_back(waits_forever());
  tasks.push_back(fails("now"));
  tasks.push_back(waits_forever());
  EXPECT_EQ(run_to_end(*loop_, loop_->all(std::move(tasks))).error().context, "now");
  EXPECT_EQ(alive_, 0);
}

}  // namespace
}  // namespace ferry
