// What the program says about itself while it runs.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string_view>
#include <utility>

#include "ferry/result.h"

namespace ferry {

enum class LogLevel { trace, debug, info, warning, error, off };

/// "trace", "debug", "info", "warning" (or "warn"), "error", "off". Errc::usage, naming them.
Result<LogLevel> parse_log_level(std::string_view name);

/// Writes lines to standard error: those of its level and above. It is passed to whoever has
/// something to say; there is no global one. Thread-safe, a line at a time.
///
/// Control characters are written as \x0a: a peer's words cannot pass for a line of ours.
class Log {
 public:
  explicit Log(LogLevel level);
  Log(Log&&) noexcept;
  Log& operator=(Log&&) noexcept;
  ~Log();

  /// Would a line of this level be written? For lines that are costly to make.
  bool writes(LogLevel level) const noexcept { return level >= level_ && level != LogLevel::off; }

  template <class... Args>
  void trace(fmt::format_string<Args...> format, Args&&... args) {
    say(LogLevel::trace, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) {
    say(LogLevel::debug, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) {
    say(LogLevel::info, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void warning(fmt::format_string<Args...> format, Args&&... args) {
    say(LogLevel::warning, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) {
    say(LogLevel::error, format, std::forward<Args>(args)...);
  }

 private:
  template <class... Args>
  void say(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
    if (writes(level)) write(level, fmt::format(format, std::forward<Args>(args)...));
  }
  void write(LogLevel level, std::string_view line);

  struct Sink;
  LogLevel level_;
  std::unique_ptr<Sink> sink_;
};

}  // namespace ferry
