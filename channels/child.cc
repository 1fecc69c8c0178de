#include "channels/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "loop/thread.h"

extern char** environ;

namespace ferry {
namespace {

// Of what it says on standard error: the last words are the ones that explain an end.
constexpr std::size_t k_kept_bytes = 2000;

/// posix_spawn's two lists of what the child is to be.
class SpawnPlan {
 public:
  SpawnPlan() noexcept {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
    // Our threads block signals, and a command ignores SIGPIPE; the child wants neither.
    sigset_t none;
    sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    sigset_t pipe = none;
    sigaddset(&pipe, SIGPIPE);
    ::posix_spawnattr_setsigdefault(&attributes_, &pipe);
    ::posix_spawnattr_setflags(&attributes_,
                               POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnPlan() {
    ::posix_spawnattr_destroy(&attributes_);
    ::posix_spawn_file_actions_destroy(&actions_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  void give(const UniqueFd& fd, int as) noexcept {
    ::posix_spawn_file_actions_adddup2(&actions_, fd.get(), as);
  }
  /// An errno, or 0.
  int run(const std::string& command, ::pid_t& pid) const noexcept {
    std::array words = {const_cast<char*>("sh"), const_cast<char*>("-c"), const_cast<char*>("--"),
                        const_cast<char*>(command.c_str()), static_cast<char*>(nullptr)};
    return ::posix_spawn(&pid, "/bin/sh", &actions_, &attributes_, words.data(), environ);
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

/// A child that nobody would look after.
void discard(::pid_t pid) noexcept {
  ::kill(-pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

/// The same out of the way of the child's standard streams, which are put there one by one.
UniqueFd above_the_streams(UniqueFd fd) noexcept {
  if (fd.get() > STDERR_FILENO) return fd;
  return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

/// Several lines as one.
std::string on_one_line(std::string text) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  for (std::size_t at = 0; (at = text.find('\n', at)) != text.npos; at += 3) {
    const bool dos = at > 0 && text[at - 1] == '\r';
    text.replace(dos ? at - 1 : at, dos ? 2 : 1, " / ");
  }
  return text;
}

}  // namespace

Result<std::unique_ptr<Child>> Child::start(const std::string& command, UniqueFd line) {
  const std::string act = "start a command";
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_sys(Errc::system, errno, act);
  UniqueFd ours(ends[0]);
  const UniqueFd theirs = above_the_streams(UniqueFd(ends[1]));
  line = above_the_streams(std::move(line));
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  // This end of the pipe has a file description of its own.
  if (!wake || !theirs || !line || ::fcntl(ours.get(), F_SETFL, O_NONBLOCK) != 0) {
    return fail_sys(Errc::system, errno, act);
  }
  SpawnPlan plan;
  plan.give(line, STDIN_FILENO);
  plan.give(line, STDOUT_FILENO);
  plan.give(theirs, STDERR_FILENO);
  ::pid_t pid = -1;
  if (const int sys = plan.run(command, pid); sys != 0) return fail_sys(Errc::system, sys, act);
  UniqueFd pidfd(static_cast<int>(
      ::syscall(SYS_pidfd_open, pid, 0)));  // nobody has reaped it: the number is its own
  if (!pidfd) {
    const int sys = errno;
    if (sys != ESRCH) discard(pid);  // else it has gone already: see note_end()
    return fail_sys(Errc::system, sys, act);
  }
  std::unique_ptr<Child> child(new Child(pid, std::move(pidfd), std::move(ours), std::move(wake)));
  auto watcher = start_thread("ferry-command", [child = child.get()] { child->watch(); });
  if (!watcher) {
    discard(pid);
    return std::unexpected(std::move(watcher).error());
  }
  child->watcher_ = std::move(*watcher);
  return child;
}

Child::Child(::pid_t pid, UniqueFd pidfd, UniqueFd err, UniqueFd wake) noexcept
    : pid_(pid), pidfd_(std::move(pidfd)), wake_(std::move(wake)), err_(std::move(err)) {}

Child::~Child() { end(Ending::by_signal); }

std::optional<std::string> Child::failure_within(std::chrono::milliseconds bound) {
  std::unique_lock lock(mutex_);
  change_.wait_for(lock, bound, [this] { return exited_ || hurried_; });
  if (!exited_ || (how_ == CLD_EXITED && status_ == 0)) return std::nullopt;
  return how_it_ended();
}

void Child::hurry() noexcept {
  const std::scoped_lock lock(mutex_);
  hurried_ = true;
  change_.notify_all();
}

void Child::end(Ending ending) noexcept {
  if (!watcher_.joinable()) return;
  {
    const std::scoped_lock lock(mutex_);
    wish_ = ending;
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto told = ::write(wake_.get(), &one, sizeof one);  // cannot be full
  watcher_.join();
}

/// The thread: until the child has ended and somebody has asked for that.
void Child::watch() {
  while (!over()) {
    wait_for_news();
    hear();
    note_end();
    obey();
    if (Clock::now() >= deadline_) escalate();
  }
  // Only now may its number, and that of its group, become somebody else's.
  siginfo_t info{};
  ::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG);
}

void Child::wait_for_news() {
  bool exited = false;
  {
    const std::scoped_lock lock(mutex_);
    exited = exited_;
  }
  // poll() passes over negative descriptors.
  std::array<pollfd, 3> news = {{{.fd = wake_.get(), .events = POLLIN, .revents = 0},
                                 {.fd = exited ? -1 : pidfd_.get(), .events = POLLIN, .revents = 0},
                                 {.fd = err_ ? err_.get() : -1, .events = POLLIN, .revents = 0}}};
  int timeout = -1;
  if (deadline_ != Clock::time_point::max()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now());
    timeout = static_cast<int>(std::max<std::int64_t>(left.count(), 0));
  }
  ::poll(news.data(), news.size(), timeout);  // an interrupted wait only means one more turn
}

/// Takes what there is on its standard error, as long as it is not more than it could have said by
/// now: one that never stops is not to keep us here.
void Child::hear() {
  std::array<char, 4096> piece;
  for (int pieces = 0; err_ && pieces < 32; ++pieces) {
    const ::ssize_t got = ::read(err_.get(), piece.data(), piece.size());
    if (got == 0) err_.reset();
    if (got <= 0) return;
    const std::scoped_lock lock(mutex_);
    said_.append(piece.data(), static_cast<std::size_t>(got));
    if (said_.size() > k_kept_bytes) said_.erase(0, said_.size() - k_kept_bytes);
  }
}

void Child::note_end() {
  if (reaped_) return;
  siginfo_t info{};
  // Not reaped yet: signals to its group must not meet a stranger's.
  if (::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
    // The kernel reaps the children of a process that ignores SIGCHLD, and tells nobody how they
    // ended; so does a host of ours that waits for all its children.
    if (errno != ECHILD) return;
    reaped_ = true;
  } else if (info.si_pid == 0) {
    return;
  }
  hear();  // its last words came before its end
  const std::scoped_lock lock(mutex_);
  exited_ = true;
  how_ = info.si_code;
  status_ = info.si_status;
  change_.notify_all();
}

void Child::obey() {
  std::optional<Ending> wish;
  {
    const std::scoped_lock lock(mutex_);
    wish = wish_;
  }
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(wake_.get(), &count, sizeof count);
  if (stage_ != Stage::runs || !wish) return;
  stage_ = Stage::asked;
  deadline_ = *wish == Ending::by_itself ? Clock::now() + k_patience : Clock::now();
}

void Child::escalate() {
  if (reaped_) {
    stage_ = Stage::given_up;  // the number of its group may be a stranger's by now
  } else if (stage_ == Stage::asked) {
    ::kill(-pid_, SIGTERM);
    stage_ = Stage::terminated;
  } else if (stage_ == Stage::terminated) {
    ::kill(-pid_, SIGKILL);
    stage_ = Stage::killed;
  } else {
    stage_ = Stage::given_up;  // not even SIGKILL: it hangs in the kernel
  }
  deadline_ = Clock::now() + k_patience;
}

/// The others of its group have ended, too, when nobody holds its standard error any more. One that
/// was let end by itself may have left some behind on purpose.
bool Child::over() const noexcept {
  if (stage_ == Stage::runs) return false;
  if (stage_ == Stage::given_up) return true;
  const std::scoped_lock lock(mutex_);
  return exited_ && (stage_ != Stage::terminated || !err_);
}

std::string Child::how_it_ended() const {
  std::string text = "it ended, and its exit status is lost (is SIGCHLD ignored?)";
  if (how_ == CLD_EXITED) {
    text = fmt::format("it ended with exit status {}", status_);
  } else if (how_ != k_unknown) {
    text = fmt::format("it was ended by SIG{}", ::sigabbrev_np(status_));
  }
  if (const std::string said = on_one_line(said_); !said.empty()) text += ": " + said;
  return text;
}

}  // namespace ferry
