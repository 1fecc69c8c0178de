#include "options.h"

#include <string_view>
#include <vector>

#include "base/escape.h"
#include "console/tls_options.h"

namespace ferry {
namespace {

constexpr std::string_view k_usage =
    "usage: migrate-recv -o PATH [URI] [options]\n"
    "Listens at URI (default tls://:4446, on all addresses) for one migrate-send, and keeps what "
    "it\n"
    "sends under PATH: a file, or an existing folder for images under their own names.\n";

std::vector<OptionSpec> known_options() {
  return with_common_options(with_tls_options(
      TlsRole::receiver,
      {
          {"output", 'o', "PATH", "the file to make, or the folder to make files in"},
          {"force", 'f', "", "replace an output that exists, once all of the new one is there"},
      }));
}

Result<void> take_words(ReceiveCommand& command, const std::vector<std::string>& words,
                        const Activation& activation) {
  if (words.size() > 1) {
    return fail(Errc::usage, in_quotes(words[1]) + " is one word too many",
                "migrate-recv -o PATH [URI]");
  }
  std::string at = words.empty() ? FERRY_TRY(activation.uri()) : words[0];
  command.at = FERRY_TRY(Uri::parse(at.empty() ? "tls://" : at));
  return {};
}

}  // namespace

Result<ReceiveCommand> parse_receive_command(std::span<const char* const> arguments,
                                             const Activation& activation) {
  const std::vector<OptionSpec> known = known_options();
  const CommandLine line = FERRY_TRY(CommandLine::parse(arguments, known));
  ReceiveCommand command;
  command.common = FERRY_TRY(common_options(line, "migrate-recv", k_usage, known));
  if (!command.common.answer.empty()) return command;
  const auto output = line.text("output");
  if (!output || output->empty()) return fail(Errc::usage, "no output given", "say -o PATH");
  command.output = *output;
  if (line.has("force")) command.existing = Existing::replace;
  FERRY_TRY(take_words(command, line.words(), activation));
  command.tls = FERRY_TRY(tls_options(line));
  return command;
}

}  // namespace ferry
