#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace ferry {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

class LogTest : public ::testing::Test {
 protected:
  LogTest() { ::testing::internal::CaptureStderr(); }
  static std::string written() { return ::testing::internal::GetCapturedStderr(); }
};

TEST_F(LogTest, WritesTheLinesOfItsLevelAndAbove) {
  Log log(LogLevel::info);
  log.debug("a {}", 1);
  log.info("b {}", 2);
  log.error("c {}", "three");
  const std::string text = written();
  EXPECT_THAT(text, Not(HasSubstr("a 1")));
  EXPECT_THAT(text, HasSubstr("info b 2\n"));
  EXPECT_THAT(text, EndsWith("error c three\n"));
}

TEST_F(LogTest, OffWritesNothing) {
  Log log(LogLevel::off);
  log.error("no");
  EXPECT_FALSE(log.writes(LogLevel::error));
  EXPECT_FALSE(log.writes(LogLevel::off));
  EXPECT_EQ(written(), "");
}

TEST_F(LogTest, APeersWordsCannotPassForALineOfOurs) {
  Log log(LogLevel::trace);
  log.warning("peer says: {}", "x\n12:00:00.000 error \x1b[31mforged");
  EXPECT_THAT(written(), EndsWith("peer says: x\\x0a12:00:00.000 error \\x1b[31mforged\n"));
}

TEST_F(LogTest, LinesOfManyThreadsStayWhole) {
  Log log(LogLevel::info);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&log] {
        for (int i = 0; i < 100; ++i) log.info("{}", std::string(200, 'x'));
      });
    }
  }
  const std::string text = written();
  const std::string end = "info " + std::string(200, 'x') + "\n";
  std::size_t lines = 0;
  for (std::size_t at = text.find(end); at != text.npos; at = text.find(end, at + 1)) ++lines;
  EXPECT_EQ(lines, 400u);
}

TEST(LogLevel, IsParsedFromItsName) {
  EXPECT_EQ(parse_log_level("trace").value(), LogLevel::trace);
  EXPECT_EQ(parse_log_level("debug").value(), LogLevel::debug);
  EXPECT_EQ(parse_log_level("info").value(), LogLevel::info);
  EXPECT_EQ(parse_log_level("warning").value(), LogLevel::warning);
  EXPECT_EQ(parse_log_level("warn").value(), LogLevel::warning);
  EXPECT_EQ(parse_log_level("error").value(), LogLevel::error);
  EXPECT_EQ(parse_log_level("off").value(), LogLevel::off);
}

TEST(LogLevel, ThatIsUnknownIsAUsageErrorThatNamesThem) {
  const auto level = parse_log_level("loud\n");
  ASSERT_FALSE(level.has_value());
  EXPECT_EQ(level.error().code, Errc::usage);
  EXPECT_EQ(level.error().text(),
            "unknown log level 'loud\\x0a' (trace, debug, info, warning, error or off)");
}

}  // namespace
}  // namespace ferry
