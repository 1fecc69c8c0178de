// Which poller one gets, and why not the one that one wanted.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <thread>
#include <vector>

#include "loop/poller.h"
#include "tests/loop/started.h"

namespace ferry {
namespace {

/// Runs `body` in a thread for which some system calls fail with `error`.
void without(std::initializer_list<long> calls, int error, std::function<void()> body) {
  std::thread([&] {
    std::vector<sock_filter> filter = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
    for (const long call : calls) {
      filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<__u32>(call), 0, 1));
      filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<__u32>(error)));
    }
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    const sock_fprog program{.len = static_cast<unsigned short>(filter.size()),
                             .filter = filter.data()};
    ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    body();
  }).join();
}

PollerKind taken_by_itself() { return make_poller(PollerKind::automatic).value()->kind(); }

TEST(MakePoller, AutomaticTakesTheFirstThatTheKernelAllows) {
  if (make_poller(PollerKind::io_uring)) {
    EXPECT_EQ(taken_by_itself(), PollerKind::io_uring);
  }
  for (const int error : {EPERM, ENOSYS, ENOMEM}) {
    without({SYS_io_uring_setup}, error, [] { EXPECT_EQ(taken_by_itself(), PollerKind::epoll); });
  }
  without({SYS_io_uring_enter}, EPERM, [] { EXPECT_EQ(taken_by_itself(), PollerKind::epoll); });
  without({SYS_io_uring_setup, SYS_epoll_create1}, EPERM,
          [] { EXPECT_EQ(taken_by_itself(), PollerKind::poll); });
}

TEST(MakePoller, AKindThatCannotBeHadIsAnErrorThatSaysWhy) {
  FERRY_SKIP_WHERE_THERE_IS_NO_POLLER(PollerKind::io_uring);
  without({SYS_io_uring_setup}, EPERM, [] {
    const auto poller = make_poller(PollerKind::io_uring);
    ASSERT_FALSE(poller.has_value());
    EXPECT_EQ(poller.error().code, Errc::unsupported);
    EXPECT_EQ(poller.error().text(),
              "wait by io_uring: operation not permitted (a seccomp filter or the sysctl "
              "kernel.io_uring_disabled forbids it)");
  });
}

TEST(MakePoller, AKindThatIsAskedForIsTheOneThatComes) {
  for (const PollerKind kind : {PollerKind::epoll, PollerKind::poll}) {
    EXPECT_EQ(make_poller(kind).value()->kind(), kind);
  }
}

}  // namespace
}  // namespace ferry
