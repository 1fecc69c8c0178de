// The channel over a command's standard input and output.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "channels/child.h"
#include "ferry/channel.h"
#include "ferry/result.h"

namespace ferry {

/// A shell command and the line to it, a socket pair. A line that fails, or ends for good, because
/// the command failed is Errc::disconnected with its exit status and what it said on standard
/// error; one that ends because the command did what it had to do is a finish. For its exit
/// status a read or a write waits k_explanation at most.
///
/// Destroying it ends the command, and waits for that: at once when there is nothing to wait for,
/// and twice Child::k_patience for one that does not want to. Where we had finished, and the
/// command too before any cancel(), it first has as long to end by itself.
class CommandChannel final : public Channel {
 public:
  /// How long a command that has closed its end may take to say why.
  static constexpr std::chrono::seconds k_explanation{1};

  /// Runs `/bin/sh -c command`. Errc::system.
  static Result<std::unique_ptr<Channel>> start(const std::string& command);
  ~CommandChannel() override;

  Result<std::size_t> read_some(std::span<const iovec> into) override;
  Result<void> write(std::span<const iovec> from, Loan loan = Loan::none) override;
  Result<void> flush() override;
  Result<void> finish() override;
  void cancel(Errc why = Errc::cancelled) noexcept override;
  const ChannelInfo& info() const noexcept override { return line_->info(); }

 private:
  CommandChannel(std::unique_ptr<Channel> line, std::unique_ptr<Child> child);
  Result<void> explained(Result<void> done);
  std::optional<Error> failure_of_command(const std::string& act);
  bool has_gone() const noexcept;

  std::unique_ptr<Channel> line_;  // closed before the command is waited for
  std::unique_ptr<Child> child_;
  std::atomic<bool> cancelled_ = false;  // pairs with failure_of_command()
  std::optional<Error> read_failure_;    // the reading thread's
  std::optional<Error> write_failure_;   // the writing thread's
  std::atomic<bool> finished_ = false;   // pairs with the destructor
  std::atomic<bool> peer_finished_ = false;
};

}  // namespace ferry
