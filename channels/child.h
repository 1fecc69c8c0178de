// A command that runs beside us.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "ferry/event_loop.h"
#include "ferry/result.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// A shell command with a socket as its standard input and output, in a session and process group
/// of its own: a signal from our terminal does not reach it, and it cannot ask there. A thread of
/// its own listens to its standard error, of which the end is kept, and reaps it.
class Child {
 public:
  /// How long it may take to end, by itself or after SIGTERM, before it is told more firmly.
  static constexpr std::chrono::seconds k_patience{2};

  /// Runs `/bin/sh -c command`. `line` is given to it and closed here. Errc::system.
  static Result<std::unique_ptr<Child>> start(const std::string& command, UniqueFd line);
  /// end(Ending::by_signal), unless it has ended.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Waits until it has ended, for `bound` at most, and says how it failed: "it ended with exit
  /// status 255: ssh: connect to host node7 port 22: Connection refused". Where somebody else has
  /// reaped it (a process that ignores SIGCHLD has the kernel do it), nobody knows that it ended
  /// well, and it counts as failed. Nothing where it ended well, has not ended, or hurry() was
  /// called. Thread-safe.
  std::optional<std::string> failure_within(std::chrono::milliseconds bound);
  /// Thread-safe. Nobody waits in failure_within() any more.
  void hurry() noexcept;

  enum class Ending {
    by_itself,  ///< first of all it has k_patience
    by_signal,  ///< SIGTERM to all of its group at once
  };
  /// Returns when it has ended and is reaped: after SIGTERM and another k_patience its group gets
  /// SIGKILL. A group whose leader somebody else has reaped gets no signal. Once.
  void end(Ending ending) noexcept;

 private:
  /// What is done to it, each when the one before has not helped in time.
  enum class Stage { runs, asked, terminated, killed, given_up };

  Child(::pid_t pid, UniqueFd pidfd, UniqueFd err, UniqueFd wake) noexcept;
  void watch();
  void wait_for_news();
  void hear();
  void note_end();
  void obey();
  void escalate();
  bool over() const noexcept;
  std::string how_it_ended() const;

  const ::pid_t pid_;
  const UniqueFd pidfd_;
  const UniqueFd wake_;  // an eventfd: there is a wish

  // The thread's own.
  UniqueFd err_;  // closed when all who could write there have gone
  Stage stage_ = Stage::runs;
  bool reaped_ = false;  // by others: pid_ is no longer its number
  Clock::time_point deadline_ = Clock::time_point::max();  // of the stage

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable change_;
  std::optional<Ending> wish_;
  bool hurried_ = false;
  bool exited_ = false;
  static constexpr int k_unknown = 0;
  int how_ = k_unknown;  // si_code
  int status_ = 0;       // si_status
  std::string said_;

  std::thread watcher_;
};

}  // namespace ferry
