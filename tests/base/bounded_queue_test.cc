#include "base/bounded_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "tests/channels/io.h"

namespace ferry::test {
namespace {

using ::testing::Optional;

TEST(BoundedQueue, GivesItemsInTheOrderOfTheirComing) {
  BoundedQueue<int> queue(3);
  for (int item = 0; item < 3; ++item) EXPECT_TRUE(queue.push(item));
  for (int item = 0; item < 3; ++item) EXPECT_THAT(queue.pop(), Optional(item));
  EXPECT_EQ(queue.try_pop(), std::nullopt);
}

TEST(BoundedQueue, TakesItemsThatOnlyMove) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  EXPECT_TRUE(queue.push(std::make_unique<int>(7)));
  EXPECT_EQ(**queue.pop(), 7);
}

TEST(BoundedQueue, APushWaitsWhileItIsFull) {
  BoundedQueue<int> queue(1);
  ASSERT_TRUE(queue.push(1));
  std::atomic<bool> pushed = false;
  BlockedThread pusher([&] { pushed = queue.push(2); });
  pusher.wait_until_asleep();
  EXPECT_FALSE(pushed);
  EXPECT_THAT(queue.pop(), Optional(1));
  pusher.join();
  EXPECT_TRUE(pushed);
  EXPECT_THAT(queue.try_pop(), Optional(2));
}

TEST(BoundedQueue, APopWaitsForAnItem) {
  BoundedQueue<int> queue(1);
  std::optional<int> item;
  BlockedThread popper([&] { item = queue.pop(); });
  popper.wait_until_asleep();
  ASSERT_TRUE(queue.push(5));
  popper.join();
  EXPECT_THAT(item, Optional(5));
}

TEST(BoundedQueue, CloseWakesAPush) {
  BoundedQueue<int> queue(1);
  ASSERT_TRUE(queue.push(1));
  bool pushed = true;
  BlockedThread pusher([&] { pushed = queue.push(2); });
  pusher.wait_until_asleep();
  queue.close();
  pusher.join();
  EXPECT_FALSE(pushed);
}

TEST(BoundedQueue, CloseWakesEveryPop) {
  BoundedQueue<int> queue(1);
  std::optional<int> items[] = {1, 1, 1};
  {
    BlockedThread one([&] { items[0] = queue.pop(); });
    BlockedThread two([&] { items[1] = queue.pop(); });
    BlockedThread three([&] { items[2] = queue.pop_unless([] { return false; }); });
    one.wait_until_asleep();
    two.wait_until_asleep();
    three.wait_until_asleep();
    queue.close();
  }
  for (const auto& item : items) EXPECT_EQ(item, std::nullopt);
}

TEST(BoundedQueue, CloseWakesWhoeverWaitsUntilItIsEmpty) {
  BoundedQueue<int> queue(2);
  ASSERT_TRUE(queue.push(1));
  bool empty = true;
  BlockedThread waiter([&] { empty = queue.wait_empty(); });
  waiter.wait_until_asleep();
  queue.close();
  waiter.join();
  EXPECT_FALSE(empty) << "the item was dropped, not taken";
}

TEST(BoundedQueue, DropsWhatIsLeftWhenItIsClosed) {
  const auto item = std::make_shared<int>(1);
  BoundedQueue<std::shared_ptr<int>> queue(2);
  ASSERT_TRUE(queue.push(item));
  queue.close();
  EXPECT_EQ(item.use_count(), 1);
  EXPECT_TRUE(queue.closed());
  EXPECT_FALSE(queue.push(item));
  EXPECT_EQ(item.use_count(), 1) << "what comes after is dropped, too";
  EXPECT_EQ(queue.pop(), std::nullopt);
  EXPECT_EQ(queue.try_pop(), std::nullopt);
  queue.close();
}

TEST(BoundedQueue, IsOpenUntilItIsClosed) {
  BoundedQueue<int> queue(1);
  EXPECT_FALSE(queue.closed());
  EXPECT_TRUE(queue.wait_empty());
}

TEST(BoundedQueue, WaitsUntilTheLastItemIsTaken) {
  BoundedQueue<int> queue(2);
  ASSERT_TRUE(queue.push(1));
  ASSERT_TRUE(queue.push(2));
  std::atomic<bool> empty = false;
  BlockedThread waiter([&] { empty = queue.wait_empty(); });
  waiter.wait_until_asleep();
  EXPECT_TRUE(queue.pop());
  waiter.wait_until_asleep();
  EXPECT_FALSE(empty);
  EXPECT_TRUE(queue.pop());
  waiter.join();
  EXPECT_TRUE(empty);
}

TEST(BoundedQueue, APokedPopLooksWhetherItIsInterrupted) {
  BoundedQueue<int> queue(1);
  std::atomic<bool> interrupted = false;
  std::optional<int> item = 1;
  BlockedThread popper([&] { item = queue.pop_unless([&] { return interrupted.load(); }); });
  popper.wait_until_asleep();
  queue.poke();  // for nothing: it goes on waiting
  popper.wait_until_asleep();
  interrupted = true;
  queue.poke();
  popper.join();
  EXPECT_EQ(item, std::nullopt);
  EXPECT_FALSE(queue.closed());
}

TEST(BoundedQueue, AnItemComesBeforeAnInterruption) {
  BoundedQueue<int> queue(1);
  ASSERT_TRUE(queue.push(3));
  EXPECT_THAT(queue.pop_unless([] { return true; }), Optional(3));
  EXPECT_EQ(queue.pop_unless([] { return true; }), std::nullopt);
}

TEST(BoundedQueue, APokeIsNeverLost) {
  // Each order is announced once, and the popper must see every one of them.
  BoundedQueue<int> queue(1);
  std::mutex mutex;
  int ordered = 0;
  int obeyed = 0;
  std::thread popper([&] {
    while (!queue.closed()) {
      queue.pop_unless([&] {
        const std::scoped_lock lock(mutex);
        return ordered != obeyed;
      });
      const std::scoped_lock lock(mutex);
      obeyed = ordered;
    }
  });
  for (int order = 1; order <= 2000; ++order) {
    {
      const std::scoped_lock lock(mutex);
      ordered = order;
    }
    queue.poke();
    for (bool done = false; !done; std::this_thread::yield()) {
      const std::scoped_lock lock(mutex);
      done = obeyed == order;
    }
  }
  queue.close();
  popper.join();
}

TEST(BoundedQueue, GivesEachItemToOneOfManyThreads) {
  constexpr int k_threads = 3;
  constexpr int k_each = 2000;
  BoundedQueue<int> queue(4);
  std::mutex mutex;
  std::multiset<int> taken;
  {
    std::vector<std::jthread> poppers;
    for (int thread = 0; thread < k_threads; ++thread) {
      poppers.emplace_back([&] {
        while (const auto item = queue.pop()) {
          const std::scoped_lock lock(mutex);
          taken.insert(*item);
        }
      });
    }
    {
      std::vector<std::jthread> pushers;
      for (int thread = 0; thread < k_threads; ++thread) {
        pushers.emplace_back([&queue, thread] {
          for (int i = 0; i < k_each; ++i) EXPECT_TRUE(queue.push(thread * k_each + i));
        });
      }
    }
    EXPECT_TRUE(queue.wait_empty());
    queue.close();
  }
  ASSERT_EQ(taken.size(), static_cast<std::size_t>(k_threads * k_each));
  for (int item = 0; item < k_threads * k_each; ++item) EXPECT_EQ(taken.count(item), 1u);
}

TEST(BoundedQueue, APushThatWaitedGoesOnAtLowWater) {
  BoundedQueue<int> queue(4, 1);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(queue.push(i));
  bool pushed = false;
  std::jthread pusher([&] { pushed = queue.push(4); });
  // However the threads run, all comes out in order, and the push ends.
  for (int i = 0; i < 5; ++i) EXPECT_EQ(queue.pop(), i);
  pusher.join();
  EXPECT_TRUE(pushed);
}

}  // namespace
}  // namespace ferry::test
