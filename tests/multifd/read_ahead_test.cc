// What a sender asks the kernel for before its lanes come to it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "multifd/page_sender.h"
#include "tests/image/temp_folder.h"

namespace {

struct Hint {
  off_t offset = 0;
  off_t length = 0;
};
// What was to be read ahead of the file with this descriptor; -1: nobody is interested.
int watched = -1;
std::vector<Hint> hints;

}  // namespace

/// In the place of the C library's.
extern "C" int posix_fadvise(int fd, off_t offset, off_t length, int advice) noexcept {
  if (fd == watched && advice == POSIX_FADV_WILLNEED) hints.push_back({offset, length});
  return ::syscall(SYS_fadvise64, fd, offset, length, advice) == 0 ? 0 : errno;
}

namespace ferry::test {
namespace {

constexpr std::uint64_t k_mib = 1024 * 1024;

class ReadAhead : public testing::Test {
 protected:
  void SetUp() override {
    write_file(folder_ / "a", "");
    file_ = UniqueFd(::open((folder_ / "a").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::ftruncate(file_.get(), 24 * k_mib), 0);
    auto memory = GuestMemory::create({{.name = "a",
                                        .length = 23 * k_mib,
                                        .backing = Backing::file,
                                        .fd = file_.get(),
                                        .fd_offset = k_mib}});
    ASSERT_TRUE(memory);
    memory_ = *std::move(memory);
    hints.clear();
    watched = file_.get();
  }
  void TearDown() override { watched = -1; }

  /// To a sender that takes nothing any more: what it asks for it asks for first.
  void submit(const PageRun& run, Content content) {
    PageSender sender(memory_, {}, {.failed = [](const Error&) {}});
    sender.close();
    EXPECT_FALSE(sender.submit(run, content));
  }

 private:
  TempFolder folder_;
  UniqueFd file_;
  GuestMemory memory_;
};

TEST_F(ReadAhead, IsOfAllOfARunBeforeItIsHandedOn) {
  const PageRun run{0, 3 * k_mib, 16 * k_mib};
  submit(run, Content::data);
  auto next = static_cast<off_t>(k_mib + run.offset);
  for (const Hint& hint : hints) {
    EXPECT_EQ(hint.offset, next);
    EXPECT_LE(hint.length, 256 * 1024) << "more than a device takes at once is left out";
    next += hint.length;
  }
  EXPECT_EQ(next, static_cast<off_t>(k_mib + run.offset + run.length));
}

TEST_F(ReadAhead, IsNotOfZeros) {
  submit({0, 0, 23 * k_mib}, Content::zeros);
  EXPECT_TRUE(hints.empty());
}

}  // namespace
}  // namespace ferry::test
