#include "ferry/event_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <future>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "tests/loop/started.h"

namespace ferry {
namespace {

using namespace testing;
using std::chrono::hours;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class EventLoopTest : public ::testing::TestWithParam<PollerKind> {
 protected:
  void SetUp() override {
    FERRY_SKIP_WHERE_THERE_IS_NO_POLLER(GetParam());
    loop_ = new_loop(GetParam());
  }
  /// Runs the loop until `over`; what makes it true must wake the loop.
  template <class Condition>
  void run_until(Condition over) {
    while (!over()) {
      loop_->post([] {});
      run_one_turn(*loop_);
    }
  }

  std::unique_ptr<EventLoop> loop_;
};

TEST_P(EventLoopTest, RunsPostedWorkInOrder) {
  std::vector<int> seen;
  for (int i = 0; i < 5; ++i) loop_->post([&seen, i] { seen.push_back(i); });
  run_one_turn(*loop_);
  EXPECT_THAT(seen, ElementsAre(0, 1, 2, 3, 4));
}

TEST_P(EventLoopTest, TakesWorkFromManyThreadsAndKeepsEachOnesOrder) {
  constexpr int k_threads = 4;
  constexpr int k_each = 1000;
  std::vector<std::vector<int>> seen(k_threads);
  int left = k_threads * k_each;
  std::vector<std::jthread> threads;
  for (int t = 0; t < k_threads; ++t) {
    threads.emplace_back([this, &seen, &left, t] {
      for (int i = 0; i < k_each; ++i) {
        loop_->post([this, &seen, &left, t, i] {
          seen[t].push_back(i);
          if (--left == 0) loop_->stop();
        });
      }
    });
  }
  loop_->run();
  for (const auto& order : seen) {
    ASSERT_EQ(order.size(), std::size_t{k_each});
    EXPECT_TRUE(std::ranges::is_sorted(order));
  }
}

TEST_P(EventLoopTest, WorkThatPostsItselfAgainDoesNotKeepEventsWaiting) {
  SocketPair line;
  line.make_ours_readable();
  bool ready = false;
  ASSERT_TRUE(loop_->watch(line.ours.get(), Interest::read, [this, &ready](Interest) {
    ready = true;
    loop_->stop();
  }));
  struct Again {
    void operator()() const { loop->post(*this); }
    EventLoop* loop;
  };
  loop_->post(Again{loop_.get()});
  loop_->run();
  EXPECT_TRUE(ready);
}

TEST_P(EventLoopTest, AStopBeforeRunCounts) {
  bool ran = false;
  loop_->stop();
  loop_->post([&ran] { ran = true; });
  loop_->run();
  EXPECT_FALSE(ran);
  run_one_turn(*loop_);
  EXPECT_TRUE(ran);
}

TEST_P(EventLoopTest, AStopFromAnotherThreadEndsRun) {
  for (int round = 0; round < 100; ++round) {
    std::jthread stopper([this] { loop_->stop(); });
    loop_->run();
  }
}

TEST_P(EventLoopTest, TimersAreCalledInTheOrderOfTheirTimesThenOfTheirMaking) {
  const auto past = Clock::now() - milliseconds(10);
  std::string order;
  loop_->call_at(past + milliseconds(2), [&order] { order += 'c'; });
  loop_->call_at(past, [&order] { order += 'a'; });
  loop_->call_at(past + milliseconds(2), [&order] { order += 'd'; });
  loop_->call_at(past + milliseconds(1), [&order] { order += 'b'; });
  run_one_turn(*loop_);
  EXPECT_EQ(order, "abcd");
}

TEST_P(EventLoopTest, ATimerIsCalledOnceAndNotBeforeItsTime) {
  const auto when = Clock::now() + milliseconds(3);
  int calls = 0;
  loop_->call_at(when, [&] {
    EXPECT_GE(Clock::now(), when);
    ++calls;
    loop_->stop();
  });
  loop_->run();
  run_one_turn(*loop_);
  EXPECT_EQ(calls, 1);
}

TEST_P(EventLoopTest, ATimerFarAheadIsNotCalled) {
  loop_->call_at(Clock::now() + hours(1), [] { ADD_FAILURE(); });
  loop_->call_at(Clock::time_point::max(), [] { ADD_FAILURE(); });
  run_one_turn(*loop_);
}

TEST_P(EventLoopTest, ACancelledTimerIsNeverCalled) {
  const auto id = loop_->call_at(Clock::now(), [] { ADD_FAILURE(); });
  loop_->cancel_call(id);
  loop_->cancel_call(id);
  loop_->cancel_call(0);
  run_one_turn(*loop_);
}

TEST_P(EventLoopTest, ATimerThatIsDueMayBeCancelledByTheOneBeforeIt) {
  EventLoop::TimerId second = 0;
  std::string called;
  loop_->call_at(Clock::now(), [&] {
    called += '1';
    loop_->cancel_call(second);
  });
  second = loop_->call_at(Clock::now(), [&] { called += '2'; });
  loop_->call_at(Clock::now(), [&] { called += '3'; });
  run_one_turn(*loop_);
  EXPECT_EQ(called, "13");
}

TEST_P(EventLoopTest, ATimerThatRenewsItselfForThePastLetsOthersRun) {
  struct Again {
    void operator()() const { loop->call_at(Clock::time_point{}, *this); }
    EventLoop* loop;
  };
  loop_->call_at(Clock::time_point{}, Again{loop_.get()});
  for (int turn = 0; turn < 3; ++turn) run_one_turn(*loop_);
}

TEST_P(EventLoopTest, AWatchIsCalledOnce) {
  SocketPair line;
  line.make_ours_readable();
  int calls = 0;
  ASSERT_TRUE(loop_->watch(line.ours.get(), Interest::read, [&](Interest ready) {
    EXPECT_EQ(ready, Interest::read);
    ++calls;
  }));
  run_one_turn(*loop_);
  run_one_turn(*loop_);
  EXPECT_EQ(calls, 1);
}

TEST_P(EventLoopTest, AWatchMayBeRenewedFromItsOwnCallback) {
  SocketPair line;
  line.make_ours_readable();
  struct Again {
    void operator()(Interest) const {
      if (++*calls == 3) return;
      EXPECT_TRUE(loop->watch(fd, Interest::read, *this));
    }
    EventLoop* loop;
    int fd;
    int* calls;
  };
  int calls = 0;
  Again{loop_.get(), line.ours.get(), &calls}(Interest::read);
  for (int turn = 0; turn < 5; ++turn) run_one_turn(*loop_);
  EXPECT_EQ(calls, 3);
}

TEST_P(EventLoopTest, AWatchThatIsReadyMayBeUndoneByTheOneBeforeIt) {
  SocketPair lines[2];
  EventLoop::WatchId ids[2] = {};
  int calls = 0;
  for (int i : {0, 1}) {
    lines[i].make_ours_readable();
    auto id = loop_->watch(lines[i].ours.get(), Interest::read, [&, i](Interest) {
      ++calls;
      loop_->unwatch(ids[1 - i]);
      lines[1 - i].ours.reset();
    });
    ASSERT_TRUE(id.has_value());
    ids[i] = *id;
  }
  run_one_turn(*loop_);
  run_one_turn(*loop_);
  EXPECT_EQ(calls, 1);
}

TEST_P(EventLoopTest, WatchesBothDirectionsOfOneDescriptorForTwo) {
  SocketPair line;
  std::string order;
  ASSERT_TRUE(loop_->watch(line.ours.get(), Interest::read, [&](Interest) { order += 'r'; }));
  ASSERT_TRUE(loop_->watch(line.ours.get(), Interest::write, [&](Interest) {
    order += 'w';
    line.make_ours_readable();
  }));
  run_one_turn(*loop_);
  EXPECT_EQ(order, "w");
  run_one_turn(*loop_);
  EXPECT_EQ(order, "wr");
}

TEST_P(EventLoopTest, WatchingWhatIsNoDescriptorFails) {
  const auto id = loop_->watch(-1, Interest::read, [](Interest) { ADD_FAILURE(); });
  ASSERT_FALSE(id.has_value());
  EXPECT_EQ(id.error().code, Errc::system);
  run_one_turn(*loop_);
}

TEST_P(EventLoopTest, WatchesComeAndGoByPostFromOtherThreads) {
  constexpr int k_threads = 4;
  constexpr int k_each = 50;
  int left = k_threads * k_each;
  std::vector<std::jthread> threads;
  for (int t = 0; t < k_threads; ++t) {
    threads.emplace_back([this, &left] {
      for (int i = 0; i < k_each; ++i) {
        SocketPair line;
        const auto seen = std::make_shared<std::promise<void>>();
        loop_->post([&, seen] {
          auto undone = loop_->watch(line.ours.get(), Interest::both, [](Interest) { FAIL(); });
          EXPECT_TRUE(loop_->watch(line.ours.get(), Interest::read, [&, seen](Interest) {
            if (--left == 0) loop_->stop();
            seen->set_value();
          }));
          loop_->unwatch(*undone);
        });
        line.make_ours_readable();
        seen->get_future().wait();
      }
    });
  }
  loop_->run();
  EXPECT_EQ(left, 0);
}

/// Blocks signals of this thread, as a program does that wants them from the loop.
class SignalsBlocked {
 public:
  explicit SignalsBlocked(std::initializer_list<int> signals) {
    sigset_t set;
    sigemptyset(&set);
    for (int number : signals) sigaddset(&set, number);
    pthread_sigmask(SIG_BLOCK, &set, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

TEST_P(EventLoopTest, ReturnsTheSignalThatCame) {
  const SignalsBlocked blocked({SIGUSR1, SIGUSR2});
  Started<int> waiting(loop_->signal({SIGUSR1, SIGUSR2}));
  run_one_turn(*loop_);
  EXPECT_FALSE(waiting.ended());
  ASSERT_EQ(::kill(::getpid(), SIGUSR2), 0);
  run_until([&] { return waiting.ended(); });
  EXPECT_EQ(waiting.result().value(), SIGUSR2);
}

TEST_P(EventLoopTest, ASignalThatCameBeforeItWasAwaitedIsNotLost) {
  const SignalsBlocked blocked({SIGUSR1});
  ASSERT_EQ(::kill(::getpid(), SIGUSR1), 0);
  EXPECT_EQ(run_to_end(*loop_, loop_->signal({SIGUSR1})).value(), SIGUSR1);
}

TEST_P(EventLoopTest, BlockingWorkRunsInAThreadOfItsOwnWithAllSignalsBlocked) {
  std::thread::id worked_in;
  sigset_t mask;
  auto work = [&] {
    worked_in = std::this_thread::get_id();
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  };
  EXPECT_TRUE(run_to_end(*loop_, loop_->on_helper_thread(work)).has_value());
  EXPECT_NE(worked_in, std::thread::id());
  EXPECT_NE(worked_in, std::this_thread::get_id());
  EXPECT_EQ(sigismember(&mask, SIGTERM), 1);
}

TEST_P(EventLoopTest, BlockingWorkIsDestroyedBeforeItsWaiterGoesOn) {
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = owned;
  Started<void> waiting(
      loop_->on_helper_thread([mine = std::move(owned)] { EXPECT_EQ(*mine, 1); }));
  run_until([&] { return waiting.ended(); });
  EXPECT_TRUE(watched.expired());
}

/// What a library keeps for each thread, and has much to do to give back.
struct KeptForAThread {
  ~KeptForAThread() {
    for (int i = 0; i < 300; ++i) {
      std::string line;
      std::getline(std::ifstream("/proc/self/status"), line);
    }
    given_back = true;
  }
  static inline std::atomic<bool> given_back = false;
};

TEST_P(EventLoopTest, AHelperThreadHasEndedBeforeItsWaiterGoesOn) {
  KeptForAThread::given_back = false;
  auto work = [] {
    thread_local KeptForAThread kept;
    (void)&kept;
  };
  EXPECT_TRUE(run_to_end(*loop_, loop_->on_helper_thread(work)).has_value());
  EXPECT_TRUE(KeptForAThread::given_back);
}

TEST_P(EventLoopTest, HelperThreadsWorkSideBySide) {
  std::latch both(2);  // neither gets past it alone
  auto work = [&both] { both.arrive_and_wait(); };
  Started<void> first(loop_->on_helper_thread(work));
  Started<void> second(loop_->on_helper_thread(work));
  run_until([&] { return first.ended() && second.ended(); });
}

Task<void> wait_with(EventLoop& loop, Alive, int fd) { co_await loop.ready(fd, Interest::read); }

TEST_P(EventLoopTest, ASpawnedTaskBeginsInTheLoopAndReportsItsEndWhenItIsGone) {
  int alive = 0;
  SocketPair line;
  line.make_ours_readable();
  bool done = false;
  loop_->spawn(wait_with(*loop_, Alive(alive), line.ours.get()), [&](Result<void> result) {
    EXPECT_TRUE(result.has_value());
    EXPECT_EQ(alive, 0);
    done = true;
  });
  EXPECT_EQ(alive, 1);
  EXPECT_FALSE(done);
  run_until([&] { return done; });
}

Task<void> fails_at_once() { co_await fail(Errc::guest, "fail"); }

TEST_P(EventLoopTest, ASpawnedTaskThatFailsAtOnceReportsWhy) {
  std::optional<Error> why;
  loop_->spawn(fails_at_once(), [&](Result<void> result) {
    ASSERT_FALSE(result.has_value());
    why = std::move(result).error();
  });
  run_until([&] { return why.has_value(); });
  EXPECT_EQ(why->code, Errc::guest);
}

TEST_P(EventLoopTest, AReportMaySpawnTheNext) {
  int ends = 0;
  struct Next {
    void operator()(Result<void>) const {
      if (++*ends < 5) loop->spawn(fails_at_once(), *this);
    }
    EventLoop* loop;
    int* ends;
  };
  loop_->spawn(fails_at_once(), Next{loop_.get(), &ends});
  run_until([&] { return ends == 5; });
}

TEST_P(EventLoopTest, DestroyingTheLoopDropsWhatWaitsAndReportsNothing) {
  int alive = 0;
  SocketPair line;
  const auto report = [](Result<void>) { ADD_FAILURE(); };
  loop_->spawn(wait_with(*loop_, Alive(alive), line.ours.get()), report);
  loop_->spawn(wait_with(*loop_, Alive(alive), line.ours.get()), report);
  run_one_turn(*loop_);
  loop_->spawn(wait_with(*loop_, Alive(alive), line.ours.get()), report);  // never begun
  loop_->post([held = Alive(alive)] {});
  loop_->call_at(Clock::now() + hours(1), [held = Alive(alive)] {});
  ASSERT_TRUE(loop_->watch(line.ours.get(), Interest::read, [held = Alive(alive)](Interest) {}));
  EXPECT_EQ(alive, 6);
  loop_.reset();
  EXPECT_EQ(alive, 0);
}

/// Gives the loop more to do, from the destructor of a dropped task.
struct LastWord {
  explicit LastWord(EventLoop& of, int& count) : loop(&of), alive(&count) {}
  LastWord(LastWord&& other) noexcept
      : loop(std::exchange(other.loop, nullptr)), alive(other.alive) {}
  ~LastWord() {
    if (!loop) return;
    loop->post([held = Alive(*alive)] {});
    loop->spawn(wait_with(*loop, Alive(*alive), -1));
  }
  EventLoop* loop;
  int* alive;
};

Task<void> wait_with_last_word(EventLoop& loop, LastWord, int fd) {
  co_await loop.ready(fd, Interest::read);
}

TEST_P(EventLoopTest, WhatIsDroppedMayPostAndSpawnOnceMore) {
  int alive = 0;
  SocketPair line;
  loop_->spawn(wait_with_last_word(*loop_, LastWord(*loop_, alive), line.ours.get()));
  run_one_turn(*loop_);
  loop_.reset();
  EXPECT_EQ(alive, 0);
}

TEST_P(EventLoopTest, MayBeDestroyedWhileAHelperThreadHangs) {
  std::latch inside(1);
  std::latch hang(1);
  const auto left = std::make_shared<std::promise<void>>();
  auto work = [&inside, &hang, left] {
    inside.count_down();
    hang.wait();
    left->set_value();
  };
  loop_->spawn(loop_->on_helper_thread(work), [](Result<void>) { ADD_FAILURE(); });
  run_one_turn(*loop_);
  inside.wait();
  loop_.reset();
  hang.count_down();
  left->get_future().wait();
}

TEST_P(EventLoopTest, WaitsWithWhatItWasToldTo) { EXPECT_EQ(loop_->poller_kind(), GetParam()); }

TEST_P(EventLoopTest, ATurnThatFindsNothingEndsAtItsDeadline) {
  loop_->call_at(Clock::now() + hours(1), [] { ADD_FAILURE(); });
  loop_->run_once(Clock::time_point{});
  const auto deadline = Clock::now() + milliseconds(3);
  while (Clock::now() < deadline) loop_->run_once(deadline);
}

TEST_P(EventLoopTest, ATurnDoesWhatIsReadyPostedAndDue) {
  SocketPair line;
  line.make_ours_readable();
  std::string done;
  ASSERT_TRUE(loop_->watch(line.ours.get(), Interest::read, [&](Interest) { done += 'r'; }));
  loop_->post([&] {
    done += 'p';
    loop_->post([&] { done += 'n'; });  // for the next turn
  });
  loop_->call_at(Clock::now(), [&] { done += 't'; });
  loop_->run_once(Clock::time_point::max());
  EXPECT_EQ(done, "rpt");
  loop_->run_once(Clock::time_point::max());
  EXPECT_EQ(done, "rptn");
}

TEST_P(EventLoopTest, AStopEndsTheWaitOfATurn) {
  std::jthread stopper([this] { loop_->stop(); });
  loop_->run_once(Clock::time_point::max());
}

INSTANTIATE_TEST_SUITE_P(Pollers, EventLoopTest, all_pollers(), name_of_poller);

}  // namespace
}  // namespace ferry
