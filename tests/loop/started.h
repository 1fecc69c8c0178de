// What the tests of the loop and of Tasks share.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "ferry/event_loop.h"
#include "ferry/task.h"
#include "ferry/unique_fd.h"

namespace ferry::testing {

/// A Task that has been started, in the hands of the test: it can be dropped where it waits.
template <class T>
class Started final : public detail::Completion {
 public:
  explicit Started(Task<T> task) : task_(std::move(task)) { task_.start(*this).resume(); }
  Started(const Started&) = delete;

  std::coroutine_handle<> completed() noexcept override {
    ended_ = true;
    return std::noop_coroutine();
  }
  bool ended() const noexcept { return ended_; }
  Result<T>& result() { return task_.result(); }
  void drop() { task_ = {}; }

 private:
  Task<T> task_;
  bool ended_ = false;
};

/// Counts the living copies of something, in a parameter or a local of a coroutine.
class Alive {
 public:
  explicit Alive(int& count) noexcept : count_(&count) { ++*count_; }
  Alive(Alive&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
  ~Alive() {
    if (count_) --*count_;
  }

 private:
  int* count_;
};

/// A line with two ends; what is written to one is read from the other.
struct SocketPair {
  SocketPair() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
      ADD_FAILURE() << "no socketpair";
      return;
    }
    ours = UniqueFd(ends[0]);
    theirs = UniqueFd(ends[1]);
  }
  void make_ours_readable() { EXPECT_EQ(::write(theirs.get(), "x", 1), 1); }

  UniqueFd ours;
  UniqueFd theirs;
};

/// For tests with a PollerKind as their parameter.
inline auto all_pollers() {
  return ::testing::Values(PollerKind::io_uring, PollerKind::epoll, PollerKind::poll);
}
inline constexpr auto name_of_poller = [](const auto& test) {
  return std::string(to_string(test.param));
};

/// io_uring may be missing from the build or forbidden by the kernel; the others never are.
#define FERRY_SKIP_WHERE_THERE_IS_NO_POLLER(kind)               \
  if (const auto ferry_loop = ::ferry::EventLoop::create(kind); \
      !ferry_loop && (kind) == ::ferry::PollerKind::io_uring) { \
    GTEST_SKIP() << ferry_loop.error().text();                  \
  }                                                             \
  static_assert(true, "for the semicolon")

inline std::unique_ptr<EventLoop> new_loop(PollerKind poller = PollerKind::automatic) {
  auto loop = EventLoop::create(poller);
  EXPECT_TRUE(loop.has_value());
  return *std::move(loop);
}

/// Calls all that is posted, due or ready at this moment, on the calling thread.
inline void run_one_turn(EventLoop& loop) {
  loop.post([&loop] { loop.stop(); });
  loop.run();
}

/// Runs the loop, on the calling thread, until the task has ended.
template <class T>
Result<T> run_to_end(EventLoop& loop, Task<T> task) {
  struct End final : detail::Completion {
    explicit End(EventLoop& of) : loop(of) {}
    std::coroutine_handle<> completed() noexcept override {
      loop.stop();
      return std::noop_coroutine();
    }
    EventLoop& loop;
  } end(loop);
  task.start(end).resume();
  loop.run();
  return std::move(task.result());
}

}  // namespace ferry::testing
