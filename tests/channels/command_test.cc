// Commands as channels: how they begin, how they end, and what is heard of that.
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <cerrno>
#include <string>

#include "channels/command_channel.h"
#include "tests/channels/io.h"
#include "tests/image/temp_folder.h"

namespace ferry::test {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

std::unique_ptr<Channel> run(const std::string& command) {
  auto channel = CommandChannel::start(command);
  EXPECT_TRUE(channel) << text_of(channel);
  return channel ? std::move(*channel) : nullptr;
}

/// What it says until it ends.
Result<std::string> all_of(Channel& channel) { return read_all(channel, 1 << 20); }

/// The number of a process, which the command has written as its first line.
::pid_t pid_from(Channel& channel) {
  std::string line;
  while (!line.ends_with('\n')) {
    const auto letter = read_once(channel, 1);
    EXPECT_TRUE(letter) << text_of(letter);
    if (!letter || letter->empty()) return -1;
    line += *letter;
  }
  return std::stoi(line);
}

/// Stays readable once the process has ended, whoever reaps it.
UniqueFd watch_end_of(::pid_t pid) {
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}
bool has_ended(const UniqueFd& process) {
  pollfd end{.fd = process.get(), .events = POLLIN, .revents = 0};
  return ::poll(&end, 1, 0) == 1;
}
/// A signal is delivered when its target runs next; a process that hangs is the test's time-out.
void wait_for_end_of(const UniqueFd& process) {
  pollfd end{.fd = process.get(), .events = POLLIN, .revents = 0};
  while (::poll(&end, 1, -1) < 0 && errno == EINTR) {
  }
}

TEST(Command, ItsOutputIsReadAndItsEndIsAFinish) {
  const auto channel = run("echo one; echo two");
  EXPECT_EQ(all_of(*channel), "one\ntwo\n");
  EXPECT_EQ(read_once(*channel), "");
}

TEST(Command, ItsInputIsWhatIsWritten) {
  const auto channel = run("tr a-z A-Z");
  ASSERT_TRUE(write_all(*channel, "loud"));
  ASSERT_TRUE(channel->finish());
  EXPECT_EQ(all_of(*channel), "LOUD");
}

TEST(Command, ItsExitStatusAndLastWordsAreTheError) {
  const auto channel = run("echo half; echo this is wrong >&2; echo so wrong >&2; exit 3");
  EXPECT_EQ(read_all(*channel, 5), "half\n");
  const auto end = read_once(*channel);
  EXPECT_EQ(code_of(end), Errc::disconnected);
  EXPECT_THAT(text_of(end), EndsWith("it ended with exit status 3: this is wrong / so wrong"));
  EXPECT_EQ(text_of(read_once(*channel)), text_of(end));
}

TEST(Command, WriterHearsOfItsEndToo) {
  const auto channel = run("exec <&- >&-; echo no room >&2; exit 4");
  const Error end = write_until_failure(*channel);
  EXPECT_EQ(end.code, Errc::disconnected);
  EXPECT_THAT(end.text(), EndsWith("it ended with exit status 4: no room"));
}

TEST(Command, OneThatIsMissingIsNamed) {
  const auto channel = run("no-such-command --at-all");
  EXPECT_THAT(text_of(all_of(*channel)), HasSubstr("exit status 127"));
  EXPECT_THAT(text_of(all_of(*channel)), HasSubstr("no-such-command"));
}

TEST(Command, ASignalThatEndedItIsNamed) {
  const auto channel = run("kill -KILL $$");
  EXPECT_THAT(text_of(all_of(*channel)), EndsWith("it was ended by SIGKILL"));
}

TEST(Command, WhatItSaysWithoutEndDoesNotHoldItUp) {
  const auto channel = run("yes it is long | head -n 50000 >&2; echo and over >&2; exit 1");
  const auto end = all_of(*channel);
  EXPECT_THAT(text_of(end), EndsWith("it is long / and over"));
  EXPECT_LT(text_of(end).size(), 3000u);
}

TEST(Command, IsLeaderOfASessionOfItsOwn) {
  const auto channel = run("echo $$; read line");
  const ::pid_t pid = pid_from(*channel);
  EXPECT_EQ(::getsid(pid), pid);
  EXPECT_EQ(::getpgid(pid), pid);
}

TEST(Command, BeginsWithNoSignalBlocked) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  const auto channel = run("grep SigBlk /proc/self/status");
  EXPECT_THAT(all_of(*channel).value(), HasSubstr("0000000000000000"));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

/// Then the kernel reaps our children, and tells nobody how they ended.
class SigchldIgnored {
 public:
  SigchldIgnored() : before_(::signal(SIGCHLD, SIG_IGN)) {}
  ~SigchldIgnored() { ::signal(SIGCHLD, before_); }
  SigchldIgnored(const SigchldIgnored&) = delete;
  SigchldIgnored& operator=(const SigchldIgnored&) = delete;

 private:
  const sighandler_t before_;
};

TEST(Command, WhereSigchldIsIgnoredAnEndIsAFailureThatIsNamed) {
  const SigchldIgnored here;
  const auto channel = run("read line; echo this is wrong >&2; exit 3");
  ASSERT_TRUE(write_all(*channel, "go\n"));
  const auto end = read_once(*channel);
  EXPECT_EQ(code_of(end), Errc::disconnected);
  EXPECT_THAT(text_of(end), HasSubstr("its exit status is lost"));
  EXPECT_THAT(text_of(end), EndsWith("this is wrong"));
}

TEST(Command, WhereSigchldIsIgnoredDestroyingItEndsIt) {
  const SigchldIgnored here;
  auto channel = run("echo $$; sleep 1000");
  const UniqueFd command = watch_end_of(pid_from(*channel));
  channel.reset();
  wait_for_end_of(command);
}

TEST(Command, DestroyingItEndsAllThatItStarted) {
  auto channel = run("sleep 1000 & echo $!; wait");
  const UniqueFd grandchild = watch_end_of(pid_from(*channel));
  channel.reset();
  wait_for_end_of(grandchild);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a zombie is left";
  EXPECT_EQ(errno, ECHILD);
}

TEST(Command, OneThatIgnoresSigtermIsKilled) {
  auto channel = run("trap '' TERM; echo $$; while :; do sleep 1000; done");
  const UniqueFd command = watch_end_of(pid_from(*channel));
  channel->cancel();
  channel.reset();
  EXPECT_TRUE(has_ended(command));
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a zombie is left";
}

TEST(Command, OneThatHearsSigtermMayCleanUp) {
  const TempFolder folder;
  const std::string file = folder / "clean";
  auto channel = run("trap 'echo clean > " + file + "; exit 1' TERM; echo $$; sleep 1000 & wait");
  ASSERT_GT(pid_from(*channel), 0);
  channel.reset();
  EXPECT_EQ(read_file(file), "clean\n");
}

TEST(Command, WhereWeHaveFinishedItMayEndByItself) {
  const TempFolder folder;
  const std::string file = folder / "rest";
  // It has something to do yet, which a SIGTERM would end.
  auto channel = run("cat > " + file + "; sleep 0.2; echo and done >> " + file);
  ASSERT_TRUE(write_all(*channel, "all of it "));
  ASSERT_TRUE(channel->finish());
  channel.reset();
  EXPECT_EQ(read_file(file), "all of it and done\n");
}

TEST(Command, CancelDoesNotWaitForItsExplanation) {
  // The end of the line is seen at once, and of the command nothing.
  const auto channel = run("exec <&- >&-; sleep 1000");
  BlockedThread reader([&] { (void)read_once(*channel); });
  reader.wait_until_asleep();
  channel->cancel();
  reader.join();
  EXPECT_EQ(code_of(read_once(*channel)), Errc::cancelled);
}

}  // namespace
}  // namespace ferry::test
