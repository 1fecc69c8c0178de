#include "console/exit_code.h"

#include <gtest/gtest.h>

namespace ferry {
namespace {

int code_of(Errc code) { return static_cast<int>(exit_code(Error{code, 0, "", ""})); }

TEST(ExitCode, EveryErrorHasTheNumberThatTheManPageSays) {
  EXPECT_EQ(code_of(Errc::usage), 2);
  EXPECT_EQ(code_of(Errc::unsupported), 2);
  EXPECT_EQ(code_of(Errc::timed_out), 3);
  EXPECT_EQ(code_of(Errc::unreachable), 3);
  EXPECT_EQ(code_of(Errc::refused), 4);
  EXPECT_EQ(code_of(Errc::auth), 4);
  EXPECT_EQ(code_of(Errc::integrity), 5);
  EXPECT_EQ(code_of(Errc::cancelled), 6);
  EXPECT_EQ(code_of(Errc::disconnected), 7);
  EXPECT_EQ(code_of(Errc::protocol), 7);
  EXPECT_EQ(code_of(Errc::system), 8);
  EXPECT_EQ(code_of(Errc::guest), 8);
  EXPECT_EQ(code_of(Errc::not_converging), 9);
}

TEST(ExitCode, AnOutcomeIsDoneFailedOrUnknown) {
  Outcome outcome;
  outcome.owner = Owner::destination;
  EXPECT_EQ(exit_code(outcome), ExitCode::done);
  outcome.why_not = Error{Errc::integrity, 0, "", ""};
  EXPECT_EQ(exit_code(outcome), ExitCode::integrity);
  outcome.owner = Owner::unknown;
  EXPECT_EQ(exit_code(outcome), ExitCode::unknown_owner);
}

}  // namespace
}  // namespace ferry
