#include "console/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "console/common_options.h"

namespace ferry {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<OptionSpec> k_known = {{"output", 'o', "PATH", "where to"},
                                         {"force", 'f', "", "even so"},
                                         {"channels", 0, "N", "how many"}};

Result<CommandLine> parsed(std::vector<const char*> arguments) {
  return CommandLine::parse(arguments, k_known);
}

std::string complaint(std::vector<const char*> arguments) {
  const auto line = parsed(std::move(arguments));
  if (line) return "none";
  EXPECT_EQ(line.error().code, Errc::usage);
  return line.error().text();
}

TEST(CommandLine, TakesOptionsAndWordsInAnyOrder) {
  const auto line = parsed({"a.img", "-o", "out", "b.img", "--force", "--channels=8"});
  ASSERT_TRUE(line) << line.error().text();
  EXPECT_THAT(line->words(), ElementsAre("a.img", "b.img"));
  EXPECT_EQ(line->text("output"), "out");
  EXPECT_TRUE(line->has("force"));
  EXPECT_EQ(line->number("channels", 1, 255).value(), 8u);
}

TEST(CommandLine, WhatWasNotTypedIsNotThere) {
  const auto line = parsed({});
  ASSERT_TRUE(line) << line.error().text();
  EXPECT_FALSE(line->has("force"));
  EXPECT_EQ(line->text("output"), std::nullopt);
  EXPECT_EQ(line->number("channels", 1, 255).value(), std::nullopt);
}

TEST(CommandLine, TwoDashesEndTheOptions) {
  const auto line = parsed({"--", "--force", "-o"});
  ASSERT_TRUE(line) << line.error().text();
  EXPECT_THAT(line->words(), ElementsAre("--force", "-o"));
  EXPECT_FALSE(line->has("force"));
}

TEST(CommandLine, ComplaintsNameTheOption) {
  EXPECT_EQ(complaint({"--frobnicate"}), "unknown option --frobnicate (--help lists them all)");
  EXPECT_EQ(complaint({"-x"}), "unknown option -x (--help lists them all)");
  EXPECT_EQ(complaint({"--output"}), "--output needs a value");
  EXPECT_EQ(complaint({"-o"}), "--output needs a value");
  EXPECT_EQ(complaint({"--force=yes"}), "--force takes no value");
  EXPECT_EQ(complaint({"--channels", "1", "--channels", "2"}), "--channels is given twice");
  EXPECT_EQ(complaint({"--chan", "2"}), "unknown option --chan (--help lists them all)");
  EXPECT_EQ(complaint({"--a\nb"}), "unknown option --a\\x0ab (--help lists them all)");
}

TEST(CommandLine, ANumberIsAllDigitsAndInItsRange) {
  for (const char* wrong : {"0", "256", "-1", "+1", "1x", "x", " 1", "1.5", "99999999999"}) {
    const std::string argument = "--channels=" + std::string(wrong);
    const auto line = parsed({argument.c_str()});
    ASSERT_TRUE(line) << line.error().text();
    const auto number = line->number("channels", 1, 255);
    ASSERT_FALSE(number) << wrong;
    EXPECT_EQ(number.error().text(),
              "--channels '" + std::string(wrong) + "': not a whole number from 1 to 255");
  }
}

TEST(CommandLine, ADecimalIsFiniteAndInItsRange) {
  const auto right = parsed({"--channels=0.25"});
  EXPECT_EQ(right->decimal("channels", 0.001, 10).value(), 0.25);
  for (const char* wrong : {"0", "11", "-1", "nan", "inf", "1e1", "1s"}) {
    const std::string argument = "--channels=" + std::string(wrong);
    const auto line = parsed({argument.c_str()});
    ASSERT_TRUE(line) << line.error().text();
    EXPECT_FALSE(line->decimal("channels", 0.001, 10)) << wrong;
  }
}

TEST(CommandLine, TheHelpHasALineForEveryOption) {
  EXPECT_EQ(options_text(k_known),
            "  -o, --output PATH          where to\n"
            "  -f, --force                even so\n"
            "      --channels N           how many\n");
}

TEST(CommonOptions, AreReadTogether) {
  const std::vector<OptionSpec> known = with_common_options({});
  const std::vector<const char*> arguments = {"--json", "-q",          "--timeout",
                                              "1.5",    "--log-level", "debug"};
  const auto line = CommandLine::parse(arguments, known);
  ASSERT_TRUE(line) << line.error().text();
  const auto common = common_options(*line, "migrate-send", "usage", known);
  ASSERT_TRUE(common) << common.error().text();
  EXPECT_EQ(common->answer, "");
  EXPECT_EQ(common->format, Console::Format::json);
  EXPECT_EQ(common->chatter, Console::Chatter::errors_only);
  EXPECT_EQ(common->timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(common->log_level, LogLevel::debug);
  EXPECT_FALSE(common->runtime.mptcp);
}

TEST(CommonOptions, MptcpIsForTheRuntime) {
  const std::vector<OptionSpec> known = with_common_options({});
  const std::vector<const char*> arguments = {"--mptcp"};
  const auto line = CommandLine::parse(arguments, known);
  ASSERT_TRUE(line) << line.error().text();
  const auto common = common_options(*line, "migrate-send", "usage", known);
  ASSERT_TRUE(common) << common.error().text();
  EXPECT_TRUE(common->runtime.mptcp);
}

Result<CommonOptions> with_poller(const char* name) {
  const std::vector<OptionSpec> known = with_common_options({});
  const std::vector<const char*> arguments = {"--poller", name};
  return common_options(*CommandLine::parse(arguments, known), "x", "", known);
}

TEST(CommonOptions, APollerIsKnownByItsName) {
  EXPECT_EQ(CommonOptions().runtime.poller, PollerKind::automatic);
  EXPECT_EQ(with_poller("auto")->runtime.poller, PollerKind::automatic);
  EXPECT_EQ(with_poller("io_uring")->runtime.poller, PollerKind::io_uring);
  EXPECT_EQ(with_poller("epoll")->runtime.poller, PollerKind::epoll);
  EXPECT_EQ(with_poller("poll")->runtime.poller, PollerKind::poll);
  const auto wrong = with_poller("select");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Errc::usage);
  EXPECT_EQ(wrong.error().text(),
            "--poller 'select': no such way to wait (auto, io_uring, epoll or poll)");
}

TEST(CommonOptions, HelpAndVersionAreAnswers) {
  const std::vector<OptionSpec> known = with_common_options({});
  const std::vector<const char*> help = {"--help"};
  const std::vector<const char*> version = {"--version"};
  EXPECT_THAT(common_options(*CommandLine::parse(help, known), "x", "the usage\n", known)->answer,
              testing::AllOf(HasSubstr("the usage\n\n"), HasSubstr("--timeout SECONDS")));
  EXPECT_THAT(common_options(*CommandLine::parse(version, known), "x", "", known)->answer,
              testing::MatchesRegex("x .Ferry. [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST(CommonOptions, JsonIsKnownBeforeTheLineIsUnderstood) {
  const std::vector<const char*> json = {"--nonsense", "--json"};
  const std::vector<const char*> a_word = {"--", "--json"};
  EXPECT_EQ(format_asked_for(json), Console::Format::json);
  EXPECT_EQ(format_asked_for(a_word), Console::Format::words);
}

}  // namespace
}  // namespace ferry
