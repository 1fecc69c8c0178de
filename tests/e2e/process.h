// A command, run as a shell would run it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ferry/unique_fd.h"

namespace ferry {

/// One child process with its output collected. Killed and waited for when it goes out of scope,
/// and by the kernel should the test itself die. Waits are bounded, so that a hang is a failed
/// test; what is asserted never depends on how long something took. One thread.
class Process {
 public:
  enum class Stderr { pipe, terminal };

  /// The first word is the path of the program.
  explicit Process(std::vector<std::string> command, Stderr stderr_is = Stderr::pipe);
  Process(Process&&) = default;
  Process& operator=(Process&&) = delete;
  ~Process();

  /// The exit code; minus the signal's number where one ended it; k_still_running after the bound.
  static constexpr int k_still_running = -1000;
  int wait();
  void signal(int number);

  /// Reads on until `text` (out or err) satisfies `enough`; false after the bound, or at its end.
  bool read_until(const std::string& text, const std::function<bool(const std::string&)>& enough);

  /// What it has said so far; after wait(), all of it.
  const std::string& out() const noexcept { return *out_text_; }
  const std::string& err() const noexcept { return *err_text_; }

 private:
  using Clock = std::chrono::steady_clock;
  bool read_more(Clock::time_point deadline);

  ::pid_t pid_ = -1;
  int code_ = k_still_running;
  UniqueFd ended_;  // a pidfd
  UniqueFd out_, err_;
  // Behind pointers, so that read_until()'s argument stays valid when a Process is moved.
  std::unique_ptr<std::string> out_text_ = std::make_unique<std::string>();
  std::unique_ptr<std::string> err_text_ = std::make_unique<std::string>();
};

}  // namespace ferry
