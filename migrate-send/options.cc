#include "options.h"

#include <string>
#include <string_view>

#include "base/escape.h"
#include "console/tls_options.h"
#include "wire/limits.h"

namespace ferry {
namespace {

constexpr std::string_view k_usage =
    "usage: migrate-send IMAGE... URI [options]\n"
    "Sends memory images to the migrate-recv that listens at URI (tcp://HOST:PORT, unix:///PATH),\n"
    "and proves that they arrived.\n";

std::vector<OptionSpec> known_options() {
  return with_common_options(with_tls_options(
      TlsRole::sender,
      {
          {"channels", 0, "N",
           "page channels in parallel, 1 to 255 (default: by the machine's cores)"},
          {"verify", 0, "HOW",
           "pages (default), or full: also a digest of all memory at both ends"},
      }));
}

Result<Verify> parse_verify(const std::string& how) {
  if (how == "pages") return Verify::pages;
  if (how == "full") return Verify::full;
  return fail(Errc::usage, "--verify " + in_quotes(how) + ": no such way", "pages or full");
}

/// The last word is where to send, the others are what.
Result<void> take_words(SendCommand& command, const std::vector<std::string>& words) {
  if (words.empty()) {
    return fail(Errc::usage, "no image and no address given", "migrate-send IMAGE... URI");
  }
  Result<Uri> to = Uri::parse(words.back());
  if (words.size() == 1) {
    if (to) return fail(Errc::usage, "no image given", "migrate-send IMAGE... URI");
    return fail(Errc::usage, "no address given",
                "say after the image where migrate-recv listens: tcp://HOST:PORT");
  }
  command.to = FERRY_TRY(std::move(to));
  command.images.assign(words.begin(), words.end() - 1);
  return {};
}

}  // namespace

Result<SendCommand> parse_send_command(std::span<const char* const> arguments) {
  const std::vector<OptionSpec> known = known_options();
  const CommandLine line = FERRY_TRY(CommandLine::parse(arguments, known));
  SendCommand command;
  command.common = FERRY_TRY(common_options(line, "migrate-send", k_usage, known));
  if (!command.common.answer.empty()) return command;
  if (const auto channels = FERRY_TRY(line.number("channels", 1, wire::k_max_channels))) {
    command.channels = *channels;
  }
  if (const auto how = line.text("verify")) command.verify = FERRY_TRY(parse_verify(*how));
  FERRY_TRY(take_words(command, line.words()));
  command.tls = FERRY_TRY(tls_options(line));
  return command;
}

}  // namespace ferry
