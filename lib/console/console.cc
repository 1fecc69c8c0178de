#include "console/console.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/escape.h"
#include "console/amounts.h"
#include "console/events.h"
#include "console/process.h"

namespace ferry {
namespace {

bool can_write_now(int fd) {
  pollfd wanted{.fd = fd, .events = POLLOUT, .revents = 0};
  return ::poll(&wanted, 1, 0) == 1;
}

/// False where the stream is of no more use. A descriptor that somebody made non-blocking is waited
/// for.
bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ::ssize_t wrote = ::write(fd, text.data(), text.size());
    if (wrote >= 0) {
      text.remove_prefix(static_cast<std::size_t>(wrote));
    } else if (errno == EAGAIN) {
      pollfd wanted{.fd = fd, .events = POLLOUT, .revents = 0};
      ::poll(&wanted, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

std::size_t terminal_columns(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

std::string in_shell_quotes(std::string_view text) {
  std::string quoted = "'";
  for (const char letter : text) {
    if (letter == '\'') {
      quoted += "'\\''";
    } else {
      quoted += letter;
    }
  }
  return quoted + "'";
}

std::string_view proof_text(Proof proof) {
  switch (proof) {
    case Proof::transcript:
      return "every 4 KiB checked, transcript equal on both sides";
    case Proof::durable_image:
      return "every 4 KiB has a checksum, all of it is on the disk";
    case Proof::verified_image:
      return "every 4 KiB checked";
  }
  return "?";
}

const Error& reason_of(const Outcome& outcome) {
  static const Error k_none{Errc::disconnected, 0, "no reason known", ""};
  return outcome.why_not ? *outcome.why_not : k_none;
}

}  // namespace

Console::Console(Options options)
    : options_(std::move(options)), terminal_(::isatty(options_.err) == 1) {}

void Console::listening(const Uri& local, Reach reach) {
  const std::scoped_lock lock(mutex_);
  const std::string command = send_command(local, reach);
  if (is_json()) return say(options_.out, listening_event(local, command));
  say(options_.out, "listening on " + escaped(local.text()));
  if (!talks_to_people()) return;
  say(options_.err,
      (reach == Reach::this_host ? "on this host: " : "on the other host: ") + escaped(command));
}

void Console::progress(const Progress& progress) {
  const std::scoped_lock lock(mutex_);
  if (is_json()) return say(options_.out, progress_event(progress), Patience::drop);
  if (!talks_to_people() || !terminal_) return;
  pace_.add(progress);
  if (!can_write_now(options_.err)) return;
  // One column stays free: some terminals wrap as soon as the last one is filled.
  const std::size_t columns = std::max<std::size_t>(terminal_columns(options_.err), 2) - 1;
  std::string line = progress_line(progress, pace_, columns);
  const std::size_t now = line.size();
  // Blanks over the rest of the line before: a terminal needs no other art for this.
  if (now < progress_columns_) line.append(std::min(progress_columns_, columns) - now, ' ');
  progress_columns_ = now;
  write_all(options_.err, "\r" + line);
}

void Console::warning(std::string_view text) {
  const std::scoped_lock lock(mutex_);
  if (is_json()) return say(options_.out, warning_event(text));
  if (!talks_to_people()) return;
  wipe_progress();
  say(options_.err, options_.command + ": warning: " + escaped(text));
}

ExitCode Console::answer(const std::string& words, const std::string& event) {
  const std::scoped_lock lock(mutex_);
  wipe_progress();
  say(options_.out, is_json() ? event : words);
  return ExitCode::done;
}

ExitCode Console::failed(const Error& error) {
  const std::scoped_lock lock(mutex_);
  say_error(error);
  if (is_json()) say(options_.out, failed_event(error));
  return exit_code(error);
}

ExitCode Console::finished(const Outcome& outcome) {
  const std::scoped_lock lock(mutex_);
  wipe_progress();
  const ExitCode code = exit_code(outcome);
  if (code == ExitCode::done) {
    if (is_json()) say(options_.out, done_event(outcome.report, usage_so_far()));
    if (talks_to_people()) say(options_.out, escaped(done_text(outcome.report)));
  } else if (code == ExitCode::unknown_owner) {
    Error error = reason_of(outcome);
    error.context = "which side has the guest now is unknown: " + error.context;
    error.remedy = "look at the destination before this side is used again";
    say_error(error);
    if (is_json()) say(options_.out, unknown_event(error));
  } else {
    say_error(reason_of(outcome));
    if (is_json()) say(options_.out, failed_event(reason_of(outcome)));
  }
  return code;
}

/// In one write where the stream takes it, so that lines of several processes stay whole. A stream
/// that fails is forgotten.
void Console::say(int& fd, std::string line, Patience patience) {
  if (fd < 0 || (patience == Patience::drop && !can_write_now(fd))) return;
  line += '\n';
  if (!write_all(fd, line)) fd = -1;
}

void Console::say_error(const Error& error) {
  wipe_progress();
  say(options_.err, options_.command + ": " + escaped(error.text()));
}

void Console::wipe_progress() {
  if (progress_columns_ == 0) return;
  write_all(options_.err, "\r" + std::string(progress_columns_, ' ') + "\r");
  progress_columns_ = 0;
}

std::string send_command(const Uri& local, Reach reach) {
  Uri shown = local;
  if (reach == Reach::every_address) shown.host = host_name();
  return "migrate-send IMAGE " + in_shell_quotes(shown.text());
}

std::string done_text(const Report& report) {
  std::string text =
      fmt::format("{} in {}, {}: {}", bytes_text(report.bytes), seconds_text(report.elapsed),
                  rate_text(rate_of(report.bytes, report.elapsed)), proof_text(report.proof));
  if (report.verify == Verify::full) text += ", digest of all memory equal too";
  if (!report.cipher.empty()) {
    text += report.placed_bytes == 0 ? ", encrypted" : ", encrypted but for the pages";
  }
  if (report.kernel_tls) text += " by the kernel";
  if (report.replacements > 0) {
    text += fmt::format(", {} channels worn and replaced", report.replacements);
  }
  if (report.resent > 0) text += fmt::format(", {} damaged and sent again", report.resent);
  return text;
}

}  // namespace ferry
