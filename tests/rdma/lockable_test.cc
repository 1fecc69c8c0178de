#include "rdma/lockable.h"

#include <gtest/gtest.h>

#include "tests/channels/io.h"

namespace ferry::test {
namespace {

TEST(LockLimit, OfNoneLetsEverythingBePinned) {
  EXPECT_TRUE(check_lockable(UINT64_MAX, {}, "pin"));
}

TEST(LockLimit, IsKeptToTheByte) {
  EXPECT_TRUE(check_lockable(1 << 20, {.bytes = 3 << 20, .pinned = 2 << 20}, "pin"));
  EXPECT_FALSE(check_lockable((1 << 20) + 1, {.bytes = 3 << 20, .pinned = 2 << 20}, "pin"));
  EXPECT_FALSE(check_lockable(1, {.bytes = 3 << 20, .pinned = 4 << 20}, "pin"));
}

TEST(LockLimit, ThatIsInTheWaySaysWhatItIsAndWhatItMustBe) {
  const auto checked =
      check_lockable((1 << 20) + 1, {.bytes = 64 << 10, .pinned = 4096}, "pin guest memory");
  EXPECT_EQ(code_of(checked), Errc::system);
  EXPECT_EQ(text_of(checked),
            "pin guest memory: the limit on locked memory (RLIMIT_MEMLOCK) is 64 KiB, and must be "
            "at least 1029 KiB (ulimit -l in a shell, LimitMEMLOCK= in a service; --rdma-pin "
            "bounds what pages need)");
}

TEST(LockLimit, OfThisProcessIsRead) {
  const LockLimit limit = lock_limit();
  EXPECT_GT(limit.bytes, 0u);
  EXPECT_LE(limit.pinned, limit.bytes);
}

}  // namespace
}  // namespace ferry::test
