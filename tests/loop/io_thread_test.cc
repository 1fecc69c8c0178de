#include "ferry/io_thread.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <future>
#include <string>
#include <thread>
#include <utility>

#include "tests/loop/started.h"

namespace ferry {
namespace {

class IoThreadTest : public ::testing::TestWithParam<PollerKind> {
 protected:
  void SetUp() override {
    FERRY_SKIP_WHERE_THERE_IS_NO_POLLER(GetParam());
    auto thread = IoThread::create("monitor", GetParam());
    ASSERT_TRUE(thread.has_value()) << thread.error().text();
    thread_ = *std::move(thread);
  }
  std::unique_ptr<IoThread> thread_;
};

Task<std::thread::id> this_thread() { co_return std::this_thread::get_id(); }

struct Surroundings {
  std::string thread_name;
  int all_signals_blocked;
};
Task<Surroundings> look_around() {
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  co_return Surroundings{name, sigismember(&mask, SIGTERM)};
}

TEST_P(IoThreadTest, HasANameOfItsOwnAndNoSignals) {
  const auto seen = block_on(thread_->loop(), look_around());
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(seen->thread_name, "monitor");
  EXPECT_EQ(seen->all_signals_blocked, 1);
}

/// A device: it knows by which threads it was used.
class Device {
 public:
  Device(UniqueFd line, std::promise<std::thread::id>& destroyed)
      : line_(std::move(line)), destroyed_(destroyed) {}
  ~Device() { destroyed_.set_value(std::this_thread::get_id()); }

  /// Answers each byte with the next one, until it has been told to end.
  Task<void> serve(EventLoop& loop) {
    for (char byte = 0; byte != 'z';) {
      co_await loop.ready(line_.get(), Interest::read);
      if (::read(line_.get(), &byte, 1) != 1) co_await fail(Errc::disconnected, "read a byte");
      ++byte;
      if (::write(line_.get(), &byte, 1) != 1) co_await fail(Errc::disconnected, "write a byte");
    }
  }

 private:
  UniqueFd line_;
  std::promise<std::thread::id>& destroyed_;
};

Task<void> serve(EventLoop& loop, std::unique_ptr<Device> device) { co_await device->serve(loop); }

/// Says `byte` to the device, and blocks for its answer.
char answer_to(int line, char byte) {
  EXPECT_EQ(::write(line, &byte, 1), 1);
  pollfd entry{.fd = line, .events = POLLIN, .revents = 0};
  while (::poll(&entry, 1, -1) != 1) {
  }
  EXPECT_EQ(::read(line, &byte, 1), 1);
  return byte;
}

TEST_P(IoThreadTest, AnObjectIsUsedAndDestroyedByTheThreadItWasHandedTo) {
  testing::SocketPair line;
  std::promise<std::thread::id> destroyed;
  std::promise<Result<void>> ended;
  auto device = std::make_unique<Device>(std::move(line.ours), destroyed);
  thread_->spawn(serve(thread_->loop(), std::move(device)),
                 [&ended](Result<void> result) { ended.set_value(std::move(result)); });
  EXPECT_EQ(answer_to(line.theirs.get(), 'a'), 'b');
  EXPECT_EQ(answer_to(line.theirs.get(), 'y'), 'z');
  EXPECT_TRUE(ended.get_future().get().has_value());
  EXPECT_EQ(destroyed.get_future().get(), block_on(thread_->loop(), this_thread()).value());
}

TEST_P(IoThreadTest, WhatIsLeftIsDestroyedByTheThreadToo) {
  testing::SocketPair line;
  std::promise<std::thread::id> destroyed;
  auto device = std::make_unique<Device>(std::move(line.ours), destroyed);
  thread_->spawn(serve(thread_->loop(), std::move(device)),
                 [](Result<void>) { ADD_FAILURE() << "it came to no end"; });
  EXPECT_EQ(answer_to(line.theirs.get(), 'a'), 'b');
  const auto id = block_on(thread_->loop(), this_thread()).value();
  thread_.reset();
  EXPECT_EQ(destroyed.get_future().get(), id);
  char byte;
  EXPECT_EQ(::read(line.theirs.get(), &byte, 1), 0);  // closed, and nothing keeps it open
}

TEST_P(IoThreadTest, WhatItHadNoTimeToBeginIsDestroyedAllTheSame) {
  for (int round = 0; round < 20; ++round) {
    testing::SocketPair line;
    std::promise<std::thread::id> destroyed;
    auto thread = IoThread::create("short", GetParam()).value();
    auto device = std::make_unique<Device>(std::move(line.ours), destroyed);
    thread->spawn(serve(thread->loop(), std::move(device)));
    thread.reset();
    EXPECT_NE(destroyed.get_future().get(), std::this_thread::get_id());
  }
}

TEST_P(IoThreadTest, OneThatIsBusyDoesNotHoldUpAnother) {
  std::promise<void> release;
  thread_->loop().post([held = release.get_future().share()] { held.wait(); });
  auto other = IoThread::create("device", GetParam()).value();
  EXPECT_TRUE(block_on(other->loop(), this_thread()).has_value());
  release.set_value();
}

INSTANTIATE_TEST_SUITE_P(Pollers, IoThreadTest, testing::all_pollers(), testing::name_of_poller);

}  // namespace
}  // namespace ferry
