#include "common/options.h"

#include <getopt.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace example {
namespace {

using ferry::Errc;
using ferry::Result;

struct Unit {
  std::string_view name;
  double factor;
};
constexpr std::array<Unit, 5> k_bytes = {
    {{"", 1}, {"B", 1}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}}};
constexpr std::array<Unit, 3> k_times = {{{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}}};  // nanoseconds

/// A number and a unit: "200MiB", "50ms".
Result<double> amount(std::string_view text, std::span<const Unit> units) {
  double number = 0;
  const auto [end, why] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view name = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const Unit& unit : units) {
    const double value = number * unit.factor;
    if (why == std::errc() && name == unit.name && value >= 0 && value <= 1e15) return value;
  }
  std::string names;
  for (const Unit& unit : units) names += " " + std::string(unit.name);
  return ferry::fail(Errc::usage, "'" + std::string(text) + "' is no amount",
                     "a number, and one of" + names);
}

Result<std::uint64_t> bytes_of(std::string_view text) {
  return static_cast<std::uint64_t>(FERRY_TRY(amount(text, k_bytes)));
}

Result<std::uint64_t> rate_of(std::string_view text) {
  if (text.ends_with("/s")) text.remove_suffix(2);
  return bytes_of(text);
}

Result<std::chrono::nanoseconds> time_of(std::string_view text) {
  return std::chrono::nanoseconds(std::llround(FERRY_TRY(amount(text, k_times))));
}

Result<std::chrono::milliseconds> milliseconds_of(std::string_view text) {
  return std::chrono::round<std::chrono::milliseconds>(FERRY_TRY(time_of(text)));
}

Result<unsigned> count_of(std::string_view text, unsigned most) {
  unsigned number = 0;
  const auto [end, why] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (why == std::errc() && end == text.data() + text.size() && number >= 1 && number <= most) {
    return number;
  }
  return ferry::fail(Errc::usage,
                     "'" + std::string(text) + "' is no number from 1 to " + std::to_string(most));
}

/// One of the values that a word may stand for.
template <class T, std::size_t N>
Result<T> one_of(std::string_view text,
                 const std::array<std::pair<std::string_view, T>, N>& words) {
  std::string known;
  for (const auto& [word, value] : words) {
    if (word == text) return value;
    known += " " + std::string(word);
  }
  return ferry::fail(Errc::usage, "'" + std::string(text) + "' is none of" + known);
}

constexpr std::array<std::pair<std::string_view, Fill>, 2> k_fills = {
    {{"zeros", Fill::zeros}, {"noise", Fill::noise}}};
constexpr std::array<std::pair<std::string_view, ferry::Verify>, 2> k_verifies = {
    {{"pages", ferry::Verify::pages}, {"full", ferry::Verify::full}}};
constexpr std::array<std::pair<std::string_view, ferry::NotConverging>, 3> k_policies = {
    {{"keep-trying", ferry::NotConverging::keep_trying},
     {"throttle", ferry::NotConverging::throttle},
     {"give-up", ferry::NotConverging::give_up}}};

using Take = Result<void> (*)(Options& options, std::string_view value);

struct Option {
  const char* name;
  const char* value;  ///< null: it takes none
  const char* help;
  Take take;
};

#define TAKE(field, expression)                                                   \
  [](Options& options, [[maybe_unused]] std::string_view value) -> Result<void> { \
    options.field = (expression);                                                 \
    return {};                                                                    \
  }

const Option k_options[] = {
    {"memory", "SIZE", "of the guest, at least 16MiB (128MiB)",
     TAKE(memory, FERRY_TRY(bytes_of(value)))},
    {"dirty-rate", "RATE", "at which it writes its memory, 200MiB/s for instance (0)",
     TAKE(dirty_rate, FERRY_TRY(rate_of(value)))},
    {"fill", "zeros|noise", "what its memory holds at boot (zeros)",
     TAKE(fill, FERRY_TRY(one_of(value, k_fills)))},
    {"incoming", "URI", "receive the guest at URI, rather than boot it",
     TAKE(incoming, std::string(value))},
    {"populate", nullptr, "with --incoming: take its memory before it comes", TAKE(populate, true)},
    {"migrate", "URI", "send the guest to URI", TAKE(migrate, std::string(value))},
    {"after", "TIME", "that it runs before it is sent (1s)",
     TAKE(after, FERRY_TRY(time_of(value)))},
    {"run-for", "TIME", "that it runs where it is in the end (2s)",
     TAKE(run_for, FERRY_TRY(time_of(value)))},
    {"max-downtime", "TIME", "that it may stand still (300ms)",
     TAKE(send.max_downtime, FERRY_TRY(milliseconds_of(value)))},
    {"max-bandwidth", "RATE", "of the migration (no bound)",
     TAKE(max_bandwidth, FERRY_TRY(rate_of(value)))},
    {"not-converging", "keep-trying|throttle|give-up", "what to do then (keep-trying)",
     TAKE(send.when_not_converging, FERRY_TRY(one_of(value, k_policies)))},
    {"channels", "N", "page channels, 1 to 255",
     TAKE(send.channels, FERRY_TRY(count_of(value, 255)))},
    {"verify", "pages|full", "full: compare a digest of all memory (pages)",
     TAKE(send.verify, FERRY_TRY(one_of(value, k_verifies)))},
};
#undef TAKE

std::string help_text(const Vocabulary& vocabulary, const std::vector<Option>& options) {
  std::string text = std::string("usage: ") + vocabulary.command +
                     " [OPTION]... [--incoming URI] [--migrate URI]\n";
  for (const Option& option : options) {
    std::string left = std::string("  --") + option.name;
    if (option.value != nullptr) left += std::string(" ") + option.value;
    left.resize(std::max<std::size_t>(left.size() + 2, 34), ' ');
    text += left + option.help + "\n";
  }
  return text;
}

std::vector<Option> options_of(const Vocabulary& vocabulary) {
  std::vector<Option> options(std::begin(k_options), std::end(k_options));
  options.push_back({vocabulary.workers, "N", "that write, 1 to 64 (1)",
                     [](Options& into, std::string_view value) -> Result<void> {
                       into.workers = FERRY_TRY(count_of(value, 64));
                       return {};
                     }});
  if (vocabulary.trackers != nullptr) {
    options.push_back({"tracker", vocabulary.trackers, "how writes are found out (the first)",
                       [](Options& into, std::string_view value) -> Result<void> {
                         into.tracker = value;
                         return {};
                       }});
  }
  return options;
}

Result<void> check(const Options& options) {
  if (options.memory < (16u << 20) || options.memory % (2u << 20) != 0) {
    return ferry::fail(Errc::usage, "--memory: at least 16MiB, and a multiple of 2MiB");
  }
  if (!options.incoming.empty() && !options.migrate.empty()) {
    return ferry::fail(Errc::usage, "--incoming and --migrate: one of them");
  }
  return {};
}

}  // namespace

Result<std::optional<Options>> parse(std::span<char* const> arguments,
                                     const Vocabulary& vocabulary) {
  const std::vector<Option> known = options_of(vocabulary);
  std::vector<option> table;
  for (const Option& one : known) {
    table.push_back({one.name, one.value == nullptr ? no_argument : required_argument, nullptr, 0});
  }
  table.push_back({"help", no_argument, nullptr, 0});
  table.push_back({});

  Options options;
  int index = 0;
  int letter = 0;
  while ((letter = ::getopt_long(static_cast<int>(arguments.size()), arguments.data(), "",
                                 table.data(), &index)) == 0) {
    const auto place = static_cast<std::size_t>(index);
    if (place == known.size()) {
      std::fputs(help_text(vocabulary, known).c_str(), stdout);
      return std::nullopt;
    }
    auto taken = known[place].take(options, ::optarg == nullptr ? "" : ::optarg);
    if (taken) continue;
    taken.error().context.insert(0, std::string("--") + known[place].name + ": ");
    return std::unexpected(std::move(taken).error());
  }
  if (letter != -1 || static_cast<std::size_t>(::optind) != arguments.size()) {
    return ferry::fail(Errc::usage, "the command line makes no sense",
                       vocabulary.command + std::string(" --help"));
  }
  FERRY_TRY(check(options));
  return options;
}

}  // namespace example
