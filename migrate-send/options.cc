#include "options.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/escape.h"
#include "console/amounts.h"
#include "console/file_options.h"
#include "console/tls_options.h"
#include "wire/limits.h"

namespace ferry {
namespace {

constexpr std::string_view k_usage =
    "usage: migrate-send IMAGE... URI [options]\n"
    "Sends memory images to the migrate-recv that listens at URI (tls://HOST:PORT?key=KEY,\n"
    "tcp://HOST:PORT, unix:///PATH, ...)\n"
    "or that a command runs ('exec:ssh HOST migrate-recv -o PATH stdio:'), and proves that they "
    "arrived;\n"
    "or writes a snapshot of them (file:///PATH).\n";

// A packet a second: at less than that a session would seem to stand still.
constexpr std::uint64_t k_slowest = 64 * 1024;

std::vector<OptionSpec> known_options() {
  return with_common_options(with_file_options(with_tls_options(
      TlsRole::sender,
      {
          {"channels", 0, "N",
           "page channels in parallel, 1 to 255 (default: by the machine's cores)"},
          {"max-bandwidth", 0, "RATE",
           "send no faster than this: 2GiB/s, 100MB/s (default: no bound)"},
          {"zero-copy", 0, "WHEN", "auto (default), on (maps the images) or off"},
          {"verify", 0, "HOW",
           "pages (default), or full: also a digest of all memory at both ends"},
          {"ws-header", 0, "'NAME: VALUE'",
           "add this to the request for ws:// or wss://; may be repeated", true},
          {"force", 'f', "", "replace a snapshot that exists, once all of the new one is there"},
      })));
}

Result<Verify> parse_verify(const std::string& how) {
  if (how == "pages") return Verify::pages;
  if (how == "full") return Verify::full;
  return fail(Errc::usage, "--verify " + in_quotes(how) + ": no such way", "pages or full");
}

Result<ZeroCopy> parse_zero_copy(const std::string& when) {
  if (when == "auto") return ZeroCopy::automatic;
  if (when == "on") return ZeroCopy::on;
  if (when == "off") return ZeroCopy::off;
  return fail(Errc::usage, "--zero-copy " + in_quotes(when) + ": no such choice",
              "auto, on or off");
}

/// "Authorization: Bearer ..."; the transport judges what may stand there.
Result<WebsocketHeader> parse_header(const std::string& line) {
  const std::size_t colon = line.find(':');
  if (colon == line.npos) {
    return fail(Errc::usage, "--ws-header: there is no colon in it", "--ws-header 'NAME: VALUE'");
  }
  const std::size_t value = std::min(line.find_first_not_of(" \t", colon + 1), line.size());
  return WebsocketHeader{line.substr(0, colon), line.substr(value)};
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
  command.channels = FERRY_TRY(line.number("channels", 1, wire::k_max_channels));
  if (const auto how = line.text("verify")) command.verify = FERRY_TRY(parse_verify(*how));
  if (const auto when = line.text("zero-copy")) {
    command.zero_copy = FERRY_TRY(parse_zero_copy(*when));
  }
  if (const auto rate = line.text("max-bandwidth")) {
    Result<std::uint64_t> bytes = parse_rate(*rate);
    if (!bytes) return std::unexpected(of_option("max-bandwidth", std::move(bytes).error()));
    if (*bytes < k_slowest) {
      return fail(Errc::usage, "--max-bandwidth " + in_quotes(*rate) + ": too slow to get anywhere",
                  "at least 64KiB/s");
    }
    command.max_bandwidth = *bytes;
  }
  FERRY_TRY(take_words(command, line.words()));
  command.tls = FERRY_TRY(tls_options(line));
  for (const std::string& header : line.texts("ws-header")) {
    command.websocket_headers.push_back(FERRY_TRY(parse_header(header)));
  }
  command.file = FERRY_TRY(file_options(line));
  if (line.has("force")) command.file.existing = Existing::replace;
  return command;
}

}  // namespace ferry
