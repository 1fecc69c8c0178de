// A network of a test's own.
#pragma once

#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <string>

#include "ferry/unique_fd.h"

namespace ferry::test {

/// Sets a sysctl of the namespace: "net/mptcp/enabled".
inline bool set_sysctl(const std::string& name, const std::string& value) {
  std::ofstream file("/proc/sys/" + name);
  file << value << std::flush;
  return file.good();
}

namespace detail {

constexpr int k_failed = 1;
constexpr int k_no_namespace = 2;

inline bool enter_a_fresh_network() {
  // Without privileges a user namespace gives them.
  if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq loopback{};
  std::strcpy(loopback.ifr_name, "lo");
  loopback.ifr_flags = IFF_UP;
  return ::ioctl(socket.get(), SIOCSIFFLAGS, &loopback) == 0;
}

}  // namespace detail

/// Runs `body` in a child process whose network is a loopback and nothing else; what fails in there
/// fails this test. Skips the test where no such network may be made. While this process has no
/// other thread.
inline void in_a_network_of_its_own(const std::function<void()>& body) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (!detail::enter_a_fresh_network()) ::_exit(detail::k_no_namespace);
    body();
    ::_exit(testing::Test::HasFailure() ? detail::k_failed : 0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "the child was killed by signal " << WTERMSIG(status);
  if (WEXITSTATUS(status) == detail::k_no_namespace) {
    GTEST_SKIP() << "this host lets us make no network namespace";
  }
  EXPECT_EQ(WEXITSTATUS(status), 0) << "see above";
}

}  // namespace ferry::test
