// A command line, taken apart.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ferry/result.h"

namespace ferry {

/// One option that a command knows.
struct OptionSpec {
  std::string name;      ///< without the dashes
  char letter;           ///< its short form, or 0
  std::string value;     ///< what stands for its value in the help; empty: it takes none
  std::string help;      ///< one line
  bool repeats = false;  ///< may it be given several times?
};

/// What was typed: options, each at most once unless it repeats, and plain words in their order;
/// "--" ends the options. All failures are Errc::usage and name the option as it was typed.
class CommandLine {
 public:
  /// `arguments` is argv without the command's own name.
  static Result<CommandLine> parse(std::span<const char* const> arguments,
                                   const std::vector<OptionSpec>& options);

  bool has(const std::string& option) const { return options_.contains(option); }
  /// Of one that does not repeat.
  std::optional<std::string> text(const std::string& option) const;
  /// All that were given, in order.
  std::vector<std::string> texts(const std::string& option) const;
  /// A whole number from `low` to `high`, or nothing where the option was not given.
  Result<std::optional<unsigned>> number(const std::string& option, unsigned low,
                                         unsigned high) const;
  /// Likewise, with a fraction where one is typed.
  Result<std::optional<double>> decimal(const std::string& option, double low, double high) const;
  const std::vector<std::string>& words() const noexcept { return words_; }

 private:
  std::map<std::string, std::vector<std::string>> options_;
  std::vector<std::string> words_;
};

/// What is wrong with an option's value, told of the option.
Error of_option(const std::string& option, Error error);

/// A line for each option, for --help.
std::string options_text(const std::vector<OptionSpec>& options);

}  // namespace ferry
