// What a round does before its lanes come to it.
#include "session/rounds.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/image/temp_folder.h"
#include "tests/session/migration.h"

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

class NothingDirty final : public DirtyTracker {
 public:
  Result<void> start() override { return {}; }
  Result<void> harvest(DirtyBitmap&) override { return {}; }
  void stop() noexcept override {}
};

class FileGuest final : public SourceGuest {
 public:
  explicit FileGuest(GuestMemory memory) : memory_(std::move(memory)) {}
  const GuestMemory& memory() override { return memory_; }
  DirtyTracker& dirty_tracker() override { return tracker_; }
  Result<void> pause() override { return {}; }
  Result<void> resume() override { return {}; }

 private:
  GuestMemory memory_;
  NothingDirty tracker_;
};

/// Looks at each run as it comes.
class LookingRecipient final : public Recipient, private StateSink {
 public:
  std::function<void(const PageRun&, Content)> look;

  Result<void> layout(const Layout&) override { return {}; }
  Result<void> begin_round(std::uint32_t, Motion) override { return {}; }
  Result<void> submit(const PageRun& run, Content content) override {
    look(run, content);
    return {};
  }
  Result<void> end_round(std::uint32_t, DirtyBitmap&) override { return {}; }
  StateSink& state() override { return *this; }
  LineFigures line() const override { return {}; }
  Result<void> prepare(std::vector<wire::Digest>) override { return {}; }
  Result<void> commit(const OwnerToken&) override { return {}; }

 private:
  Result<void> begin_section(std::string_view, std::uint32_t) override { return {}; }
  Result<void> append(std::span<const std::byte>) override { return {}; }
  Result<void> end_section(std::uint64_t, std::uint64_t) override { return {}; }
};

TEST(Rounds, AskForARunOfAFileBeforeTheyHandItOn) {
  const TempFolder folder;
  write_file(folder / "a", std::string(20 * k_mib + 5, 'x'));
  const UniqueFd file(::open((folder / "a").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), 24 * k_mib), 0);
  auto memory = GuestMemory::create({{.name = "a",
                                      .length = 23 * k_mib,
                                      .backing = Backing::file,
                                      .fd = file.get(),
                                      .fd_offset = k_mib}});
  ASSERT_TRUE(memory);
  FileGuest guest(*std::move(memory));
  LookingRecipient recipient;
  std::uint64_t data_bytes = 0;
  std::size_t dealt_with = 0;
  recipient.look = [&](const PageRun& run, Content content) {
    if (content == Content::zeros) return;
    data_bytes += run.length;
    std::uint64_t next = k_mib + run.offset;
    for (; dealt_with < hints.size(); ++dealt_with) {
      const Hint& hint = hints[dealt_with];
      EXPECT_EQ(static_cast<std::uint64_t>(hint.offset), next);
      EXPECT_LE(hint.length, 256 * 1024) << "more than a device takes at once is left out";
      next += static_cast<std::uint64_t>(hint.length);
    }
    EXPECT_EQ(next, k_mib + run.offset + run.length) << "all of it, and nothing of the next";
  };
  hints.clear();
  watched = file.get();
  Rounds rounds(guest, recipient);
  const auto sent = rounds.send_everything();
  watched = -1;
  ASSERT_TRUE(sent) << sent.error().text();
  EXPECT_GE(data_bytes, 19 * k_mib + 5);
}

}  // namespace
}  // namespace ferry::test
