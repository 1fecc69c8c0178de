#include "console/command.h"

#include <cstdio>
#include <exception>

#include "console/process.h"

namespace ferry {

ExitCode run_command(const std::string& name, Arguments arguments,
                     const Result<Invocation>& invocation) {
  Console console({.command = name,
                   .format = format_asked_for(arguments),
                   .chatter = invocation ? invocation->common.chatter : Console::Chatter::all,
                   .out = output_for(arguments)});
  if (!invocation) return console.failed(invocation.error());
  if (!invocation->common.answer.empty()) {
    std::fputs(invocation->common.answer.c_str(), stdout);
    return ExitCode::done;
  }
  Log log(invocation->common.log_level);
  const Result<ExitCode> ended = invocation->work(console, log);
  return ended ? *ended : console.failed(ended.error());
}

int command_main(int argc, char** argv, const char* name, ExitCode (*run)(Arguments arguments)) {
  prepare_process();
  try {
    return static_cast<int>(run(Arguments(argv, static_cast<std::size_t>(argc)).subspan(1)));
  } catch (const std::exception& bug) {
    // Ferry throws nothing; a library beneath it may.
    std::fprintf(stderr, "%s: internal error: %s\n", name, bug.what());
    return static_cast<int>(ExitCode::internal);
  }
}

}  // namespace ferry
