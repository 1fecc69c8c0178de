#include "base/output_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "tests/image/temp_folder.h"

namespace ferry {
namespace {

using testing::IsEmpty;
using testing::UnorderedElementsAre;

// With and without O_TMPFILE, on the disk and in memory: the same promises.
struct Place {
  const char* folder;
  Beginning beginning;
};

class OutputFileIn : public testing::TestWithParam<Place> {
 protected:
  Result<OutputFile> create(const std::string& name, std::uint64_t length = 0) {
    return OutputFile::create(fd_.get(), name, name, length, GetParam().beginning);
  }
  /// One with `content`, in its full length.
  OutputFile made(const std::string& name, std::string_view content) {
    Result<OutputFile> output = create(name, content.size());
    EXPECT_TRUE(output) << output.error().text();
    EXPECT_EQ(::pwrite(output->fd(), content.data(), content.size(), 0),
              static_cast<::ssize_t>(content.size()));
    return *std::move(output);
  }

  TempFolder folder_{GetParam().folder};
  UniqueFd fd_{::open(folder_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
};

TEST_P(OutputFileIn, HasItsNameOnlyAfterShow) {
  OutputFile output = made("a.img", "content");
  EXPECT_FALSE(folder_.names().contains("a.img"));
  ASSERT_TRUE(output.sync());
  ASSERT_TRUE(output.show(Existing::keep));
  EXPECT_THAT(folder_.names(), UnorderedElementsAre("a.img"));
  EXPECT_EQ(read_file(folder_ / "a.img"), "content");
}

TEST_P(OutputFileIn, LeavesNothingWhenItIsDropped) {
  made("a.img", "content");
  EXPECT_THAT(folder_.names(), IsEmpty());
  {
    OutputFile staged = made("b.img", "content");
    ASSERT_TRUE(staged.stage());
    EXPECT_EQ(folder_.names().size(), 1u);
    EXPECT_FALSE(folder_.names().contains("b.img"));
  }
  EXPECT_THAT(folder_.names(), IsEmpty());
}

TEST_P(OutputFileIn, IsOneHoleOfItsExactLength) {
  Result<OutputFile> output = create("long.img", (std::uint64_t{1} << 36) + 1);
  ASSERT_TRUE(output) << output.error().text();
  ASSERT_TRUE(output->show(Existing::keep));
  EXPECT_EQ(status_of(folder_ / "long.img").st_size, (::off_t{1} << 36) + 1);
  EXPECT_EQ(allocated_bytes(folder_ / "long.img"), 0u);
  char byte = 'x';
  EXPECT_EQ(::pread(output->fd(), &byte, 1, 12345), 1);
  EXPECT_EQ(byte, '\0');
}

TEST_P(OutputFileIn, HasTheModeThatTheUmaskLeaves) {
  const ::mode_t before = ::umask(027);
  OutputFile output = made("a.img", "content");
  ::umask(before);
  ASSERT_TRUE(output.show(Existing::keep));
  EXPECT_EQ(status_of(folder_ / "a.img").st_mode & 07777, 0640u);
}

TEST_P(OutputFileIn, KeepsWhatHasTheName) {
  write_file(folder_ / "a.img", "older");
  OutputFile direct = made("a.img", "newer");
  const Result<void> shown = direct.show(Existing::keep);
  ASSERT_FALSE(shown);
  EXPECT_EQ(shown.error().code, Errc::system);
  EXPECT_EQ(shown.error().sys, EEXIST);
  OutputFile staged = made("a.img", "newer");
  ASSERT_TRUE(staged.stage());
  EXPECT_FALSE(staged.show(Existing::keep));
  EXPECT_EQ(read_file(folder_ / "a.img"), "older");
}

TEST_P(OutputFileIn, ReplacesInOneStepWhenAskedTo) {
  write_file(folder_ / "a.img", "older");
  const UniqueFd reader(::open((folder_ / "a.img").c_str(), O_RDONLY | O_CLOEXEC));
  OutputFile output = made("a.img", "newer");
  ASSERT_TRUE(output.stage());
  ASSERT_TRUE(output.show(Existing::replace));
  EXPECT_EQ(read_file(folder_ / "a.img"), "newer");
  output.settle();
  EXPECT_THAT(folder_.names(), UnorderedElementsAre("a.img"));
  char old[5] = {};
  EXPECT_EQ(::pread(reader.get(), old, sizeof old, 0), 5);
  EXPECT_EQ(std::string_view(old, 5), "older");
}

TEST_P(OutputFileIn, TakesBackOnlyWhatIsItsOwn) {
  OutputFile output = made("a.img", "content");
  ASSERT_TRUE(output.show(Existing::keep));
  OutputFile other = made("b.img", "content");
  ASSERT_TRUE(other.show(Existing::keep));
  std::filesystem::remove(folder_ / "b.img");
  write_file(folder_ / "b.img", "somebody else's");
  output.take_back();
  other.take_back();
  EXPECT_THAT(folder_.names(), UnorderedElementsAre("b.img"));
}

TEST_P(OutputFileIn, TakenBackItGivesWhatItReplacedTheNameAgain) {
  write_file(folder_ / "a.img", "older");
  {
    OutputFile output = made("a.img", "newer");
    ASSERT_TRUE(output.stage());
    ASSERT_TRUE(output.show(Existing::replace));
    output.take_back();
    EXPECT_EQ(read_file(folder_ / "a.img"), "older");
  }
  EXPECT_THAT(folder_.names(), UnorderedElementsAre("a.img"));
}

TEST_P(OutputFileIn, ADirectoryIsNeverReplaced) {
  std::filesystem::create_directory(folder_ / "a.img");
  {
    OutputFile output = made("a.img", "newer");
    ASSERT_TRUE(output.stage());
    const Result<void> shown = output.show(Existing::replace);
    ASSERT_FALSE(shown);
    EXPECT_EQ(shown.error().sys, EISDIR);
  }
  EXPECT_TRUE(std::filesystem::is_directory(folder_ / "a.img"));
  EXPECT_THAT(folder_.names(), UnorderedElementsAre("a.img"));
}

TEST_P(OutputFileIn, ANameAsLongAsNamesMayBeIsNoTrouble) {
  const std::string name(255, 'n');
  OutputFile output = made(name, "content");
  ASSERT_TRUE(output.stage());
  ASSERT_TRUE(output.show(Existing::keep));
  EXPECT_THAT(folder_.names(), UnorderedElementsAre(name));
}

TEST_P(OutputFileIn, ALengthThatNoFileCanHaveIsAnError) {
  const Result<OutputFile> output = create("a.img", UINT64_MAX);
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().code, Errc::system);
  EXPECT_THAT(folder_.names(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Places, OutputFileIn,
    testing::Values(Place{"/tmp", Beginning::nameless}, Place{"/tmp", Beginning::hidden},
                    Place{"/dev/shm", Beginning::nameless}, Place{"/dev/shm", Beginning::hidden}),
    [](const auto& test) {
      return std::string(test.param.folder == std::string("/tmp") ? "Disk" : "Memory") +
             (test.param.beginning == Beginning::hidden ? "Hidden" : "Nameless");
    });

}  // namespace
}  // namespace ferry
