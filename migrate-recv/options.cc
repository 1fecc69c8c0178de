#include "options.h"

#include <string_view>
#include <vector>

#include "base/escape.h"
#include "console/file_options.h"
#include "console/tls_options.h"
#include "wire/limits.h"

namespace ferry {
namespace {

constexpr std::string_view k_usage =
    "usage: migrate-recv -o PATH [URI] [options]\n"
    "       migrate-recv --inspect | --check file:///PATH [options]\n"
    "Listens at URI (default tls://:4446, on all addresses) for one migrate-send, and keeps what "
    "it\n"
    "sends under PATH: a file, or an existing folder for images under their own names. With\n"
    "file:///PATH it takes the images out of a snapshot that migrate-send wrote there.\n";

std::vector<OptionSpec> known_options() {
  return with_common_options(with_file_options(with_tls_options(
      TlsRole::receiver,
      {
          {"output", 'o', "PATH", "the file to make, or the folder to make files in"},
          {"force", 'f', "", "replace an output that exists, once all of the new one is there"},
          {"inspect", 0, "", "say what is in a snapshot"},
          {"check", 0, "", "read all of a snapshot, and say what is damaged"},
          {"lanes", 0, "N",
           "lanes that read a snapshot, 1 to 255 (default: by the machine's cores)"},
      })));
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

Result<void> take_task(ReceiveCommand& command, const CommandLine& line) {
  const auto output = line.text("output");
  const bool inspects = line.has("inspect");
  const bool checks = line.has("check");
  if (!inspects && !checks) {
    if (!output || output->empty()) return fail(Errc::usage, "no output given", "say -o PATH");
    command.output = *output;
    return {};
  }
  const std::string task = inspects ? "--inspect" : "--check";
  if (inspects && checks) return fail(Errc::usage, "--inspect and --check: one of them");
  if (output) return fail(Errc::usage, task + " has no output", "leave -o out");
  if (line.words().empty()) {
    return fail(Errc::usage, task + ": no snapshot given", "say file:///PATH");
  }
  command.task = inspects ? ReceiveTask::inspect : ReceiveTask::check;
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
  FERRY_TRY(take_task(command, line));
  if (const auto lanes = FERRY_TRY(line.number("lanes", 1, wire::k_max_channels))) {
    command.lanes = *lanes;
  }
  if (line.has("force")) command.existing = Existing::replace;
  FERRY_TRY(take_words(command, line.words(), activation));
  command.tls = FERRY_TRY(tls_options(line));
  command.file = FERRY_TRY(file_options(line));
  return command;
}

}  // namespace ferry
