#include "tests/e2e/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace ferry {
namespace {

constexpr std::chrono::seconds k_bound{50};  // a hang; ctest's own bound is 60

struct Ends {
  UniqueFd ours, theirs;
};

Ends make_pipe() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Ends make_terminal() {
  int ours = -1;
  int theirs = -1;
  winsize size{.ws_row = 24, .ws_col = 70, .ws_xpixel = 0, .ws_ypixel = 0};
  EXPECT_EQ(::openpty(&ours, &theirs, nullptr, nullptr, &size), 0);
  ::fcntl(ours, F_SETFD, FD_CLOEXEC);
  ::fcntl(theirs, F_SETFD, FD_CLOEXEC);
  return {UniqueFd(ours), UniqueFd(theirs)};
}

/// In the child, after fork() of a process with threads: nothing but system calls.
[[noreturn]] void become(char* const* command, int out, int err) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // A test run may have been started with signals ignored or blocked; the command's own behaviour
  // must not depend on that.
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(nothing, 0);
  ::dup2(out, 1);
  ::dup2(err, 2);
  ::execv(command[0], command);
  ::_exit(127);
}

/// Appends what there is; closes `fd` at the end.
void read_into(UniqueFd& fd, std::string& text) {
  std::array<char, 4096> piece;
  const ::ssize_t got = ::read(fd.get(), piece.data(), piece.size());
  if (got > 0) {
    text.append(piece.data(), static_cast<std::size_t>(got));
  } else {
    // A terminal's master says EIO when the last slave is closed.
    fd.reset();
  }
}

}  // namespace

Process::Process(std::vector<std::string> command, Stderr stderr_is) {
  Ends out = make_pipe();
  Ends err = stderr_is == Stderr::terminal ? make_terminal() : make_pipe();
  std::vector<char*> words;
  for (std::string& word : command) words.push_back(word.data());
  words.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) become(words.data(), out.theirs.get(), err.theirs.get());
  EXPECT_GT(pid_, 0);
  ended_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  EXPECT_TRUE(ended_);
  out_ = std::move(out.ours);
  err_ = std::move(err.ours);
}

Process::~Process() {
  if (!ended_ || code_ != k_still_running) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

int Process::wait() {
  const Clock::time_point deadline = Clock::now() + k_bound;
  while (out_ || err_) {
    if (!read_more(deadline)) return code_;
  }
  pollfd ended{.fd = ended_.get(), .events = POLLIN, .revents = 0};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  if (code_ != k_still_running || ::poll(&ended, 1, static_cast<int>(left.count())) != 1) {
    return code_;
  }
  int status = 0;
  EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
  code_ = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  return code_;
}

void Process::signal(int number) { EXPECT_EQ(::kill(pid_, number), 0); }

bool Process::read_until(const std::string& text,
                         const std::function<bool(const std::string&)>& enough) {
  const Clock::time_point deadline = Clock::now() + k_bound;
  while (!enough(text)) {
    if ((!out_ && !err_) || !read_more(deadline)) return false;
  }
  return true;
}

/// False after the deadline.
bool Process::read_more(Clock::time_point deadline) {
  // poll() passes over negative descriptors.
  std::array<pollfd, 2> wanted = {{{.fd = out_.get(), .events = POLLIN, .revents = 0},
                                   {.fd = err_.get(), .events = POLLIN, .revents = 0}}};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  if (left.count() <= 0) return false;
  if (::poll(wanted.data(), wanted.size(), static_cast<int>(left.count())) <= 0) {
    return errno == EINTR;
  }
  if (wanted[0].revents != 0) read_into(out_, *out_text_);
  if (wanted[1].revents != 0) read_into(err_, *err_text_);
  return true;
}

}  // namespace ferry
