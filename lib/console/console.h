// What a command says: events for scripts, or words for people.
#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>

#include "console/exit_code.h"
#include "console/progress_line.h"
#include "ferry/guest.h"
#include "ferry/result.h"
#include "ferry/uri.h"

namespace ferry {

/// The two streams of a command. Standard output is for what a script reads: the address that a
/// receiver listens at, the result, and with Format::json nothing but events. Standard error is for
/// people: errors, warnings, and on a terminal one line of progress that is written anew. Nothing
/// that a peer said reaches either of them unescaped.
///
/// Thread-safe. A stream that nobody reads any more is left alone (SIGPIPE must be ignored);
/// progress is dropped rather than waited for when its reader is slow, everything else waits.
class Console {
 public:
  enum class Format { words, json };
  enum class Chatter {
    all,
    errors_only,  ///< and the line `listening on URI`, which is there for scripts
  };
  struct Options {
    std::string command;  ///< "migrate-send": errors begin with it
    Format format = Format::words;
    Chatter chatter = Chatter::all;
    int out = 1;  ///< descriptors, borrowed
    int err = 2;
  };

  explicit Console(Options options);

  /// Where senders may come, and the line that a person runs there.
  void listening(const Uri& local, Reach reach);
  void progress(const Progress& progress);
  void warning(std::string_view text);
  /// What was asked for, in lines for people (with Chatter::errors_only too: it is all that the
  /// command is for) or as one event.
  ExitCode answer(const std::string& words, const std::string& event);
  /// A failure before there was a migration.
  ExitCode failed(const Error& error);
  /// The last word on a migration.
  ExitCode finished(const Outcome& outcome);

 private:
  enum class Patience { drop, wait };

  void say(int& fd, std::string line, Patience patience = Patience::wait);
  void say_error(const Error& error);
  void wipe_progress();
  bool is_json() const noexcept { return options_.format == Format::json; }
  bool talks_to_people() const noexcept { return !is_json() && options_.chatter == Chatter::all; }

  std::mutex mutex_;  // over everything below
  Options options_;
  const bool terminal_;
  Pace pace_;
  std::size_t progress_columns_ = 0;  // of the progress line that stands on the terminal
};

/// The command that a person runs elsewhere to send to `local`, quoted for a shell. Where every
/// address of this host leads there, it has the host's name.
std::string send_command(const Uri& local, Reach reach);

/// "1.00 GiB in 0.52 s, 1.92 GiB/s: every 4 KiB checked, transcript equal on both sides".
std::string done_text(const Report& report);

}  // namespace ferry
