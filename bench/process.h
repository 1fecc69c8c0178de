// The sides of a run as processes: forked ones that run a function, and commands.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/measure.h"
#include "ferry/result.h"
#include "ferry/unique_fd.h"

namespace ferry::bench {

/// A child process and what it prints to its standard output. It is killed if it is still there
/// when this goes. Moved, not copied.
class Process {
 public:
  /// Starts a program; argv[0] is its path. Standard error is ours.
  static Result<Process> start(const std::vector<std::string>& argv);
  /// Runs `body` in a fork of this process, which must have no threads. `body` gets a descriptor
  /// whose other end read_line() reads.
  static Result<Process> fork(const std::function<Result<void>(int out)>& body);

  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();

  pid_t id() const noexcept { return id_; }
  /// The next line of its output, without the newline. Errc::disconnected when there is none.
  Result<std::string> read_line();
  /// Waits for its end; Errc::guest unless it ended with 0.
  Result<Usage> wait();

 private:
  Process(pid_t id, UniqueFd output, std::string name)
      : id_(id), output_(std::move(output)), name_(std::move(name)) {}

  pid_t id_ = -1;
  UniqueFd output_;
  std::string name_;
  std::string unread_;
};

/// Makes something large, an image, without growing ourselves: what this process has mapped would
/// count in the peaks of the commands that it starts.
Result<void> in_a_child(const std::function<Result<void>()>& make);

/// User and system time of a process that was not waited for yet.
Result<double> cpu_seconds(pid_t id);

/// What one side of a run in the library says when it is done: when the part that is measured began
/// and ended, and what it used in between.
struct SideReport {
  Clock::time_point begin;
  Clock::time_point end;
  Usage usage;
  std::string cipher{};      ///< what encrypted it; empty: nothing, or it is not known
  double pages_seconds = 0;  ///< of Ferry's sender: its rounds; elsewhere 0
};
void write_line(int out, const std::string& line);
void write_report(int out, const SideReport& report);
Result<SideReport> read_report(Process& side);

}  // namespace ferry::bench
