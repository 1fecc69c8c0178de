#include "base/read_lease.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "tests/image/temp_folder.h"

namespace ferry {
namespace {

class AReadLease : public testing::Test {
 protected:
  AReadLease() { write_file(path_, "content"); }
  UniqueFd open(int mode) const { return UniqueFd(::open(path_.c_str(), mode | O_CLOEXEC)); }

  TempFolder folder_;
  const std::filesystem::path path_ = folder_ / "a";
};

TEST_F(AReadLease, IsHeldUntilSomebodyWantsToWrite) {
  const UniqueFd file = open(O_RDONLY);
  const auto lease = ReadLease::take(file.get());
  if (!lease) GTEST_SKIP() << "no leases here";
  EXPECT_TRUE(lease->held());
  EXPECT_TRUE(open(O_RDONLY)) << "whoever reads is no trouble";
  EXPECT_TRUE(lease->held());
  EXPECT_FALSE(open(O_WRONLY | O_NONBLOCK));
  EXPECT_EQ(errno, EWOULDBLOCK);
  EXPECT_FALSE(lease->held());
  lease->give_back();
  EXPECT_TRUE(open(O_WRONLY | O_NONBLOCK));
  EXPECT_FALSE(lease->held());
}

TEST_F(AReadLease, IsNotHadWhereSomebodyMayWrite) {
  const UniqueFd file = open(O_RDONLY);
  {
    UniqueFd writer = open(O_RDWR);
    EXPECT_FALSE(ReadLease::take(file.get()));
    void* const mapping = ::mmap(nullptr, 7, PROT_WRITE, MAP_SHARED, writer.get(), 0);
    ASSERT_NE(mapping, MAP_FAILED);
    writer.reset();
    EXPECT_FALSE(ReadLease::take(file.get())) << "it is mapped still";
    ::munmap(mapping, 7);
  }
  EXPECT_TRUE(ReadLease::take(file.get())) << "it can be had here";
}

TEST_F(AReadLease, EndsWithItsObject) {
  const UniqueFd file = open(O_RDONLY);
  ASSERT_TRUE(ReadLease::take(file.get()));
  EXPECT_TRUE(open(O_WRONLY | O_NONBLOCK));
}

TEST_F(AReadLease, IsOfRegularFilesOnly) {
  const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(ReadLease::take(null.get()));
  EXPECT_FALSE(ReadLease::take(-1));
}

}  // namespace
}  // namespace ferry
