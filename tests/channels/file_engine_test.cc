// What no engine of the parametrised suite can be made to do: its kernel refuses.
#include "channels/file_engine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include "tests/image/temp_folder.h"

namespace ferry::test {
namespace {

/// From here on, in this thread, io_uring_enter(2) fails where it would submit exactly one request.
bool refuse_to_submit_one() {
  std::array<sock_filter, 6> rules{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_enter, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{static_cast<unsigned short>(rules.size()), rules.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

TEST(SubmitPatiently, AsksAgainWhereTheKernelHasNoRoomNow) {
  std::vector<long> answers{1, -EBUSY, -EAGAIN, -EINTR};  // the last one first
  const auto taken = submit_patiently("any", [&] {
    const long answer = answers.back();
    answers.pop_back();
    return answer;
  });
  EXPECT_TRUE(taken);
  EXPECT_TRUE(answers.empty());
}

TEST(SubmitPatiently, AsksOnceWhereItIsRefused) {
  int times = 0;
  const auto refused = submit_patiently("any", [&times]() -> long {
    ++times;
    return -EBADF;
  });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sys, EBADF);
  EXPECT_EQ(refused.error().context, "file engine any: submit");
  EXPECT_EQ(times, 1);
}

TEST(SubmitPatiently, EndsSomeTime) {
  const auto put_off = submit_patiently(
      "any", []() -> long { return -EAGAIN; }, std::chrono::milliseconds(5));
  ASSERT_FALSE(put_off);
  EXPECT_EQ(put_off.error().sys, EAGAIN);
}

TEST(IoUringEngine, TakesNoneAfterOneThatItCouldNotSubmit) {
  const TempFolder folder;
  write_file(folder / "a", std::string(8192, 'a'));
  const UniqueFd file(::open((folder / "a").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<std::byte, 4096> bytes{};
  auto engine = make_io_uring_engine({.depth = 4, .staging = bytes});
  if (!engine) GTEST_SKIP() << engine.error().text();
  // A filter stays with its thread.
  std::thread([&] {
    if (!refuse_to_submit_one()) return;
    const auto refused = (*engine)->submit({.fd = file.get(), .bytes = bytes, .cookie = 1});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().sys, EPERM);
    // Were it taken, the refused one would go with it: two at once pass the filter.
    const auto next = (*engine)->submit({.fd = file.get(), .bytes = bytes, .cookie = 2});
    ASSERT_FALSE(next);
    EXPECT_EQ(next.error().sys, EPERM);
  }).join();
}

}  // namespace
}  // namespace ferry::test
