// What kernel TLS needs beside a kernel that has it; the channel itself is in tests/conformance.
#include "channels/kernel_tls.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

#include "ferry/unique_fd.h"

namespace ferry::test {
namespace {

sigset_t only_sigpipe() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGPIPE);
  return set;
}

bool sigpipe_is_pending() {
  sigset_t pending;
  ::sigpending(&pending);
  return ::sigismember(&pending, SIGPIPE) == 1;
}

/// Writes to a pipe that nobody reads; the errno of it.
int write_to_nobody() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno;
  const UniqueFd writing(ends[1]);
  UniqueFd(ends[0]).reset();
  return ::write(writing.get(), "x", 1) < 0 ? errno : 0;
}

TEST(WithoutSigpipe, NoneComesAndNoneIsLeftBehind) {
  std::jthread([] {
    const sigset_t set = only_sigpipe();
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    {
      const WithoutSigpipe guard;
      EXPECT_EQ(write_to_nobody(), EPIPE);  // else the process would end here
      EXPECT_TRUE(sigpipe_is_pending());
    }
    EXPECT_FALSE(sigpipe_is_pending());
    sigset_t now;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &now);
    EXPECT_EQ(::sigismember(&now, SIGPIPE), 0);
  }).join();
}

TEST(WithoutSigpipe, OneThatWasThereBeforeStays) {
  std::jthread([] {
    const sigset_t set = only_sigpipe();
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ASSERT_EQ(::pthread_kill(::pthread_self(), SIGPIPE), 0);
    {
      const WithoutSigpipe guard;
      EXPECT_EQ(write_to_nobody(), EPIPE);
    }
    EXPECT_TRUE(sigpipe_is_pending());
    const timespec at_once{};
    EXPECT_EQ(::sigtimedwait(&set, nullptr, &at_once), SIGPIPE);
  }).join();
}

}  // namespace
}  // namespace ferry::test
