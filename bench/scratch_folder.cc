#include "bench/scratch_folder.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

namespace ferry::bench {
namespace {

class Folder {
 public:
  explicit Folder(std::string path) : path_(std::move(path)) {}
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const noexcept { return path_; }

 private:
  const std::string path_;
};

/// Blocked from when this is made, as they were when it goes.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&set_, signal);
    ::sigprocmask(SIG_BLOCK, &set_, &before_);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() { restore(); }

  void restore() const { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  int wait() const {
    int signal = 0;
    ::sigwait(&set_, &signal);
    return signal;
  }

 private:
  sigset_t set_{};
  sigset_t before_{};
};

/// Until the child has ended; or the signal that came before, and the child killed for it.
int wait_for(pid_t child, const Signals& signals, int& status) {
  for (;;) {
    const int signal = signals.wait();
    if (signal == SIGCHLD) {
      if (::waitpid(child, &status, WNOHANG) == child) return 0;
      continue;
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    return signal;
  }
}

}  // namespace

Result<int> in_scratch_folder(const std::string& parent,
                              const std::function<int(const std::string& folder)>& body) {
  std::string path = parent + "/ferry-bench-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {
    return fail_sys(Errc::system, errno, fmt::format("make a folder in '{}'", parent));
  }
  int status = 0;
  int signal = 0;
  {
    const Folder folder(path);
    const Signals signals;
    const pid_t self = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) return fail_sys(Errc::system, errno, "fork");
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != self) ::_exit(1);
      signals.restore();
      const int code = body(folder.path());
      (void)std::fflush(nullptr);
      ::_exit(code);
    }
    signal = wait_for(child, signals, status);
  }
  if (signal != 0) ::raise(signal);  // its default is to end us, as whoever waits for us is to see
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  return fail(Errc::system, fmt::format("measure: killed by signal {}", WTERMSIG(status)));
}

}  // namespace ferry::bench
