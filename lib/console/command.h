// What every command is around its own work: words in, an exit code out.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "base/log.h"
#include "console/common_options.h"
#include "console/console.h"
#include "console/exit_code.h"
#include "ferry/result.h"

namespace ferry {

using Arguments = std::span<const char* const>;

/// What a command's words come to, as far as every command has it, and the work that is left.
struct Invocation {
  CommonOptions common;
  std::function<Result<ExitCode>(Console&, Log&)> work;
};

/// Makes the console that the words ask for, and ends with what it says: that they make no sense,
/// the answer to --help or --version, or how the work ended.
ExitCode run_command(const std::string& name, Arguments arguments,
                     const Result<Invocation>& invocation);

/// What main() returns. `run` gets argv without the command's own name.
int command_main(int argc, char** argv, const char* name, ExitCode (*run)(Arguments arguments));

}  // namespace ferry
