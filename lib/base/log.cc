#include "base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/ansicolor_sink.h>

#include <string>

#include "base/escape.h"

namespace ferry {
namespace {

spdlog::level::level_enum spdlog_level(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::trace:
      return spdlog::level::trace;
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
    case LogLevel::off:
      break;
  }
  return spdlog::level::off;
}

}  // namespace

Result<LogLevel> parse_log_level(std::string_view name) {
  if (name == "trace") return LogLevel::trace;
  if (name == "debug") return LogLevel::debug;
  if (name == "info") return LogLevel::info;
  if (name == "warning" || name == "warn") return LogLevel::warning;
  if (name == "error") return LogLevel::error;
  if (name == "off") return LogLevel::off;
  return fail(Errc::usage, "unknown log level " + in_quotes(name),
              "trace, debug, info, warning, error or off");
}

/// A logger of our own, which spdlog's registry does not know.
struct Log::Sink {
  spdlog::logger logger{"ferry", std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>()};
};

Log::Log(LogLevel level) : level_(level), sink_(std::make_unique<Sink>()) {
  sink_->logger.set_level(spdlog::level::trace);  // writes() has judged already
  sink_->logger.set_pattern("%H:%M:%S.%e %^%l%$ %v");
  sink_->logger.flush_on(spdlog::level::trace);
}
Log::Log(Log&&) noexcept = default;
Log& Log::operator=(Log&&) noexcept = default;
Log::~Log() = default;

void Log::write(LogLevel level, std::string_view line) {
  const std::string clean = escaped(line);
  sink_->logger.log(spdlog_level(level), spdlog::string_view_t(clean.data(), clean.size()));
}

}  // namespace ferry
