#include "console/common_options.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/escape.h"
#include "console/amounts.h"
#include "ferry/uri.h"

namespace ferry {
namespace {

bool takes_standard_streams(std::string_view argument) {
  const Result<Uri> uri = Uri::parse(argument);
  return uri && uri->is_standard_streams();
}

/// What --rdma-pin says: bytes, or 0 for all.
Result<std::uint64_t> rdma_pin(const std::string& text) {
  constexpr std::uint64_t k_least = 1 << 20;
  if (text == "all") return 0;
  Result<std::uint64_t> bytes = parse_bytes(text);
  if (bytes && *bytes < k_least) bytes = fail(Errc::usage, in_quotes(text) + ": less than 1 MiB");
  if (!bytes) return std::unexpected(of_option("rdma-pin", std::move(bytes).error()));
  return bytes;
}

}  // namespace

std::vector<OptionSpec> with_common_options(std::vector<OptionSpec> own) {
  const OptionSpec common[] = {
      {"timeout", 0, "SECONDS", "give up after so much silence (default 30)"},
      {"poller", 0, "NAME",
       "wait for events by io_uring, epoll, poll, or auto: the first there is"},
      {"mptcp", 0, "", "tcp over all paths between the hosts at once, where both have MPTCP"},
      {"rdma-pin", 0, "SIZE",
       "pin so much of a guest's memory at a time for rdma, or all (default)"},
      {"json", 0, "", "say everything as JSON events on standard output, one a line"},
      {"quiet", 'q', "", "say nothing but errors"},
      {"log-level", 0, "LEVEL", "trace, debug, info, warning (default), error or off"},
      {"help", 'h', "", "show this text"},
      {"version", 'V', "", "show the version"},
  };
  own.insert(own.end(), std::begin(common), std::end(common));
  return own;
}

Result<CommonOptions> common_options(const CommandLine& line, std::string_view command,
                                     std::string_view usage,
                                     const std::vector<OptionSpec>& options) {
  CommonOptions common;
  if (line.has("help")) common.answer = std::string(usage) + "\n" + options_text(options);
  if (line.has("version")) common.answer = std::string(command) + " (Ferry) " FERRY_VERSION "\n";
  if (line.has("json")) common.format = Console::Format::json;
  if (line.has("quiet")) common.chatter = Console::Chatter::errors_only;
  if (const auto level = line.text("log-level")) {
    common.log_level = FERRY_TRY(parse_log_level(*level));
  }
  if (const auto name = line.text("poller")) {
    Result<PollerKind> poller = parse_poller(*name);
    if (!poller) return std::unexpected(of_option("poller", std::move(poller).error()));
    common.runtime.poller = *poller;
  }
  common.runtime.mptcp = line.has("mptcp");
  if (const auto size = line.text("rdma-pin")) {
    common.runtime.rdma.most_pinned = FERRY_TRY(rdma_pin(*size));
  }
  if (common.format == Console::Format::json &&
      std::ranges::any_of(line.words(), takes_standard_streams)) {
    return fail(Errc::usage, "--json: standard output is the line to the peer with stdio:",
                "say --json on the other side");
  }
  constexpr double k_longest = 1e6;  // eleven days: beyond that somebody mistyped
  if (const auto seconds = FERRY_TRY(line.decimal("timeout", 0.001, k_longest))) {
    common.timeout =
        std::chrono::round<std::chrono::milliseconds>(std::chrono::duration<double>(*seconds));
  }
  return common;
}

Console::Format format_asked_for(std::span<const char* const> arguments) noexcept {
  for (const std::string_view argument : arguments) {
    if (argument == "--") break;
    if (argument == "--json") return Console::Format::json;
  }
  return Console::Format::words;
}

int output_for(std::span<const char* const> arguments) {
  return std::ranges::any_of(arguments, takes_standard_streams) ? -1 : STDOUT_FILENO;
}

}  // namespace ferry
