// Our loop, driven by a program's own: whatever happens reaches it through one descriptor.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <string>
#include <thread>
#include <tuple>

#include "ferry/ferry.h"
#include "tests/embedding/host.h"
#include "tests/loop/started.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"

namespace ferry::test {
namespace {

using ferry::testing::SocketPair;
using ferry::testing::Started;
using std::chrono::hours;
using std::chrono::milliseconds;

struct HostKind {
  const char* name;
  std::unique_ptr<Host> (*make)();
};
using Pair = std::tuple<HostKind, PollerKind>;

class Embedding : public ::testing::TestWithParam<Pair> {
 protected:
  void SetUp() override {
    const auto& [kind, poller] = GetParam();
    FERRY_SKIP_WHERE_THERE_IS_NO_POLLER(poller);
    host_ = kind.make();
    if (!host_) GTEST_SKIP() << "built without GLib (libglib2.0-dev)";
    loop_ = ferry::testing::new_loop(poller);
    host_->watch(loop_->fd().value(), [this] { turn(); });
  }

  /// What a program does when our descriptor is readable, and all that it does.
  void turn() {
    ++turns_;
    loop_->run_once(Clock::time_point{});
  }
  bool something_to_do() {
    pollfd entry{.fd = loop_->fd().value(), .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, 0) == 1;
  }

  int turns_ = 0;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Host> host_;  // goes before what it watches
};

TEST_P(Embedding, WorkPostedByAnotherThreadIsDone) {
  int left = 100;
  std::jthread poster([this, &left] {
    for (int i = 0; i < 100; ++i) loop_->post([&left] { --left; });
  });
  host_->run_until([&left] { return left == 0; });
}

TEST_P(Embedding, ATimerThatIsSetBetweenTurnsComes) {
  const auto start = Clock::now();
  std::string came;
  loop_->call_at(Clock::time_point::max(), [&] { came += '!'; });
  loop_->call_at(start + hours(1), [&] { came += '!'; });
  loop_->call_at(start + milliseconds(2), [&] { came += 'b'; });
  loop_->call_at(start + milliseconds(1), [&] { came += 'a'; });
  loop_->cancel_call(loop_->call_at(start, [&] { came += '!'; }));
  host_->run_until([&came] { return came.size() == 2; });
  EXPECT_EQ(came, "ab");
  EXPECT_GE(Clock::now(), start + milliseconds(2));
}

TEST_P(Embedding, ATimerThatHasPassedAlreadyComes) {
  int came = 0;
  loop_->call_at(Clock::time_point{}, [&] { ++came; });
  host_->run_until([&came] { return came == 1; });
}

TEST_P(Embedding, ADescriptorThatIsWatchedBetweenTurnsIsSeen) {
  SocketPair line;
  bool seen = false;
  ASSERT_TRUE(loop_->watch(line.ours.get(), Interest::read, [&seen](Interest) { seen = true; }));
  std::jthread writer([&line] { line.make_ours_readable(); });
  host_->run_until([&seen] { return seen; });
}

Task<void> all_sorts(EventLoop& loop, int fd) {
  co_await loop.ready(fd, Interest::write);
  co_await loop.sleep_until(Clock::now() + milliseconds(1));
  const auto work = [] {};
  co_await loop.on_helper_thread(work);
  co_await loop.sleep_until(Clock::now() - milliseconds(1));
  co_await loop.ready(fd, Interest::write);
}

TEST_P(Embedding, ASpawnedTaskRunsToItsEndAndItsEndIsReported) {
  SocketPair line;
  bool done = false;
  loop_->spawn(all_sorts(*loop_, line.ours.get()), [&done](Result<void> result) {
    EXPECT_TRUE(result.has_value());
    done = true;
  });
  host_->run_until([&done] { return done; });
}

TEST_P(Embedding, TheProgramsOwnEventsGetTheirTurn) {
  const UniqueFd own(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  bool served = false;
  host_->watch(own.get(), [&] {
    eventfd_t ignored;
    ::eventfd_read(own.get(), &ignored);
    served = true;
  });
  struct Again {  // always something to do
    void operator()() const { loop->post(*this); }
    EventLoop* loop;
  };
  loop_->post(Again{loop_.get()});
  host_->run_until([&] { return served && turns_ >= 10; });
}

TEST_P(Embedding, ALoopWithNothingToDoIsSilent) {
  SocketPair line;
  auto watch = loop_->watch(line.ours.get(), Interest::read, [](Interest) { ADD_FAILURE(); });
  ASSERT_TRUE(watch.has_value());
  loop_->call_at(Clock::now() + hours(1), [] { ADD_FAILURE(); });
  bool done = false;
  loop_->spawn(all_sorts(*loop_, line.ours.get()), [&done](Result<void>) { done = true; });
  host_->run_until([&done] { return done; });
  for (int i = 0; i < 10 && something_to_do(); ++i) turn();
  EXPECT_FALSE(something_to_do());
}

TEST_P(Embedding, AGuestMigratesWhileTheProgramDrivesTheLoop) {
  const auto runtime = make_runtime({.loop = loop_.get()}).value();
  MemorySource from(layout_of({5 * 1024 * 1024 + 1, k_unit_bytes}));
  MemoryDestination to;
  SendOptions options;
  options.channels = 3;
  bool over = false;
  std::jthread caller([&] {
    const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", options);
    EXPECT_TRUE(ended.sent.ok()) << why_not(ended.sent);
    EXPECT_TRUE(ended.received.ok()) << why_not(ended.received);
    loop_->post([&over] { over = true; });
  });
  host_->run_until([&over] { return over; });
  EXPECT_TRUE(identical(from, to));
}

INSTANTIATE_TEST_SUITE_P(Hosts, Embedding,
                         ::testing::Combine(::testing::Values(HostKind{"Epoll", &make_epoll_host},
                                                              HostKind{"Glib", &make_glib_host}),
                                            ::testing::Values(PollerKind::io_uring,
                                                              PollerKind::epoll)),
                         [](const auto& test) {
                           return std::string(std::get<HostKind>(test.param).name) + "_" +
                                  std::string(to_string(std::get<PollerKind>(test.param)));
                         });

TEST(EmbeddingByPoll, SaysThatThereIsNothingToWatch) {
  const auto loop = EventLoop::create(PollerKind::poll).value();
  const auto fd = loop->fd();
  ASSERT_FALSE(fd.has_value());
  EXPECT_EQ(fd.error().code, Errc::unsupported);
  EXPECT_EQ(fd.error().text(),
            "embed a loop that waits by poll: it has no descriptor (io_uring and epoll have one)");
}

}  // namespace
}  // namespace ferry::test
