// Prints the README's table of transports, as the transports of this build have it.
#include <cstdio>
#include <optional>
#include <string>

#include "ferry/ferry.h"

namespace {

std::string row(const ferry::Transport& transport, const ferry::TransportAbilities& abilities) {
  const auto cell = [](bool can) { return can ? " yes |" : " |"; };
  // What is placed goes beside the line.
  const char* const encrypted = abilities.encrypted && abilities.placed_writes
                                    ? " all but pages |"
                                    : cell(abilities.encrypted);
  return "| `" + std::string(transport.scheme()) + "` |" + encrypted + cell(abilities.zero_copy) +
         cell(abilities.placed_writes) + cell(abilities.fd_passing) +
         cell(transport.lines() == ferry::Lines::many) +
         cell(transport.lines() == ferry::Lines::one);
}

}  // namespace

int main() {
  const auto runtime = ferry::make_runtime();
  if (!runtime) {
    std::fprintf(stderr, "%s\n", runtime.error().text().c_str());
    return 1;
  }
  std::puts(
      "| transport | encrypted | zero-copy | placed writes | fd passing | parallel channels | one "
      "pipe |\n|---|---|---|---|---|---|---|");
  for (const ferry::Transport* const transport : (*runtime)->transports()) {
    if (const auto can = transport->abilities()) std::puts(row(*transport, *can).c_str());
  }
}
