#include "console/command_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <charconv>

#include "base/escape.h"

namespace ferry {
namespace {

namespace po = boost::program_options;

using Texts = std::vector<std::string>;

constexpr const char* k_words = "ferry-words";  // the name by which Boost knows the plain words

po::options_description described(const std::vector<OptionSpec>& options) {
  po::options_description description;
  for (const OptionSpec& option : options) {
    std::string names = option.name;
    if (option.letter != 0) names += std::string(",") + option.letter;
    if (option.value.empty()) {
      description.add_options()(names.c_str(), "");
    } else if (option.repeats) {
      description.add_options()(names.c_str(), po::value<Texts>(), "");
    } else {
      description.add_options()(names.c_str(), po::value<std::string>(), "");
    }
  }
  description.add_options()(k_words, po::value<Texts>());
  return description;
}

/// `option` as Boost has it, with or without dashes.
std::string dashed(const std::string& option) {
  const std::string bare = option.substr(std::min(option.find_first_not_of('-'), option.size()));
  return escaped((bare.size() == 1 ? "-" : "--") + bare);
}

Error usage(std::string context, std::string remedy = {}) {
  return {Errc::usage, 0, std::move(context), std::move(remedy)};
}

/// What Boost throws, in our words. It throws nothing else while it parses.
Error translated(const po::error& error) {
  if (const auto* unknown = dynamic_cast<const po::unknown_option*>(&error)) {
    return usage("unknown option " + dashed(unknown->get_option_name()), "--help lists them all");
  }
  if (const auto* twice = dynamic_cast<const po::multiple_occurrences*>(&error)) {
    return usage(dashed(twice->get_option_name()) + " is given twice");
  }
  if (const auto* syntax = dynamic_cast<const po::invalid_syntax*>(&error)) {
    const bool unwanted = syntax->kind() == po::invalid_syntax::extra_parameter;
    return usage(dashed(syntax->get_option_name()) +
                 (unwanted ? " takes no value" : " needs a value"));
  }
  return usage(escaped(error.what()));
}

Error not_a_number(const std::string& option, const std::string& text, std::string range) {
  return usage("--" + option + " " + in_quotes(text) + ": not a " + range);
}

}  // namespace

Result<CommandLine> CommandLine::parse(std::span<const char* const> arguments,
                                       const std::vector<OptionSpec>& options) {
  const po::options_description description = described(options);
  po::positional_options_description words;
  words.add(k_words, -1);
  // No guessing: what is an abbreviation today is ambiguous tomorrow.
  const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
  po::variables_map found;
  try {
    po::store(po::command_line_parser(std::vector<std::string>(arguments.begin(), arguments.end()))
                  .options(description)
                  .positional(words)
                  .style(style)
                  .run(),
              found);
  } catch (const po::error& error) {
    return std::unexpected(translated(error));
  }
  CommandLine line;
  for (const OptionSpec& option : options) {
    if (found.count(option.name) == 0) continue;
    Texts& texts = line.options_[option.name];
    if (option.repeats) {
      texts = found[option.name].as<Texts>();
    } else if (!option.value.empty()) {
      texts = {found[option.name].as<std::string>()};
    }
  }
  if (found.count(k_words) > 0) line.words_ = found[k_words].as<Texts>();
  return line;
}

std::optional<std::string> CommandLine::text(const std::string& option) const {
  const auto found = options_.find(option);
  if (found == options_.end()) return std::nullopt;
  return found->second.empty() ? std::string() : found->second.front();
}

std::vector<std::string> CommandLine::texts(const std::string& option) const {
  const auto found = options_.find(option);
  return found == options_.end() ? std::vector<std::string>() : found->second;
}

Result<std::optional<unsigned>> CommandLine::number(const std::string& option, unsigned low,
                                                    unsigned high) const {
  const auto typed = text(option);
  if (!typed) return std::nullopt;
  unsigned value = 0;
  const char* const end = typed->data() + typed->size();
  const auto [stopped, fault] = std::from_chars(typed->data(), end, value);
  if (fault != std::errc() || stopped != end || value < low || value > high) {
    return std::unexpected(
        not_a_number(option, *typed, fmt::format("whole number from {} to {}", low, high)));
  }
  return value;
}

Result<std::optional<double>> CommandLine::decimal(const std::string& option, double low,
                                                   double high) const {
  const auto typed = text(option);
  if (!typed) return std::nullopt;
  double value = 0;
  const char* const end = typed->data() + typed->size();
  const auto [stopped, fault] =
      std::from_chars(typed->data(), end, value, std::chars_format::fixed);
  // Written so that a NaN, which compares with nothing, is outside.
  const bool inside = value >= low && value <= high;
  if (fault != std::errc() || stopped != end || !inside) {
    return std::unexpected(
        not_a_number(option, *typed, fmt::format("number from {} to {}", low, high)));
  }
  return value;
}

Error of_option(const std::string& option, Error error) {
  error.context = "--" + option + " " + error.context;
  return error;
}

std::string options_text(const std::vector<OptionSpec>& options) {
  std::string text;
  for (const OptionSpec& option : options) {
    const std::string letter = option.letter == 0 ? "    " : fmt::format("-{}, ", option.letter);
    const std::string value = option.value.empty() ? "" : " " + option.value;
    text += fmt::format("  {}--{:<20} {}\n", letter, option.name + value, option.help);
  }
  return text;
}

}  // namespace ferry
