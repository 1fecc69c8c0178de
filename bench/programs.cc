#include "bench/programs.h"

#include <fmt/format.h>

#include <cstdio>

#include "bench/process.h"

namespace ferry::bench {

Result<std::string> find_program(const std::string& name) {
  Process shell =
      FERRY_TRY(Process::start({"/bin/sh", "-c", "command -v \"$1\" || :", "sh", name}));
  const Result<std::string> found = shell.read_line();
  FERRY_TRY(shell.wait());
  if (found) return *found;
  return fail(Errc::unsupported, fmt::format("there is no {} here", name));
}

void say_skipped(std::string_view name, const Error& why) {
  fmt::print(stderr, "{:<14} skipped: {}\n", name, why.text());
}

}  // namespace ferry::bench
