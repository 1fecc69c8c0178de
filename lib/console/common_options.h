// The options that both commands have.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "console/command_line.h"
#include "console/console.h"
#include "ferry/result.h"
#include "ferry/runtime.h"

namespace ferry {

struct CommonOptions {
  std::string answer;  ///< to --help or --version: all that the command then does is to print it
  Console::Format format = Console::Format::words;
  Console::Chatter chatter = Console::Chatter::all;
  LogLevel log_level = LogLevel::warning;
  std::chrono::milliseconds timeout{30'000};  ///< of silence
  RuntimeOptions runtime;
};

/// Those of a command, and after them the common ones.
std::vector<OptionSpec> with_common_options(std::vector<OptionSpec> own);

/// `usage` is the head of --help: the synopsis, and what the command does. Errc::usage.
Result<CommonOptions> common_options(const CommandLine& line, std::string_view command,
                                     std::string_view usage,
                                     const std::vector<OptionSpec>& options);

/// How to say that a command line makes no sense, before it is understood.
Console::Format format_asked_for(std::span<const char* const> arguments) noexcept;

/// What a command may say to scripts on: standard output, or nothing (-1) where an address among
/// the arguments is `stdio:` and the line to the peer is there. Before the command line is
/// understood.
int output_for(std::span<const char* const> arguments);

}  // namespace ferry
