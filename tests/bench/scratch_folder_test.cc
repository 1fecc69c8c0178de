// What a benchmark writes is gone when it ends, however it does.
#include "bench/scratch_folder.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "tests/image/temp_folder.h"

namespace ferry::bench {
namespace {

void write_image(const std::string& folder) {
  std::ofstream(folder + "/image") << "pages" << std::flush;
}

TEST(ScratchFolder, IsThereForTheBodyAndGoneBehindIt) {
  const TempFolder parent;
  const auto code = in_scratch_folder(parent.path(), [](const std::string& folder) {
    write_image(folder);
    return ::access((folder + "/image").c_str(), R_OK) == 0 ? 7 : 1;
  });
  ASSERT_TRUE(code) << code.error().text();
  EXPECT_EQ(*code, 7);
  EXPECT_TRUE(parent.names().empty());
}

TEST(ScratchFolder, IsGoneWhenItsBodyIsKilled) {
  const TempFolder parent;
  const auto code = in_scratch_folder(parent.path(), [](const std::string& folder) {
    write_image(folder);
    return ::raise(SIGKILL);
  });
  ASSERT_FALSE(code);
  EXPECT_EQ(code.error().text(), "measure: killed by signal 9");
  EXPECT_TRUE(parent.names().empty());
}

TEST(ScratchFolder, CannotBeInAFolderThatIsNotThere) {
  const auto code = in_scratch_folder("/nowhere", [](const std::string&) { return 0; });
  ASSERT_FALSE(code);
  EXPECT_EQ(code.error().text(), "make a folder in '/nowhere': no such file or directory");
}

class ScratchFolderOfASignal : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Each, ScratchFolderOfASignal, testing::Values(SIGINT, SIGTERM, SIGHUP));

TEST_P(ScratchFolderOfASignal, IsGoneAndTheSignalIsWhatItDiedOf) {
  const TempFolder parent;
  const ::pid_t bench = ::fork();
  ASSERT_GE(bench, 0);
  if (bench == 0) {
    (void)in_scratch_folder(parent.path(), [](const std::string& folder) {
      write_image(folder);
      ::alarm(60);
      return ::pause();
    });
    ::_exit(0);
  }
  const auto is_written = [&parent] {
    const auto names = parent.names();
    return !names.empty() && ::access((parent / *names.begin() / "image").c_str(), R_OK) == 0;
  };
  while (!is_written() && ::waitpid(bench, nullptr, WNOHANG) == 0) std::this_thread::yield();
  ::kill(bench, GetParam());
  int status = 0;
  ASSERT_EQ(::waitpid(bench, &status, 0), bench);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == GetParam());
  EXPECT_TRUE(parent.names().empty());
}

}  // namespace
}  // namespace ferry::bench
