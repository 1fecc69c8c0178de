// Verify::full finds what checksums of what was sent cannot: memory that was never sent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;

SendOptions in_full() {
  SendOptions options;
  options.channels = 2;
  options.verify = Verify::full;
  return options;
}

TEST(VerifyFull, PassesMemoryThatIsWhole) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({300 * k_unit_bytes + 5, 0, 2 * k_unit_bytes}));
  MemoryDestination to;
  from.on_harvest = [&]() -> Result<void> {
    from.write(2, 1, static_cast<std::byte>(from.harvests()));
    return {};
  };
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", in_full());
  EXPECT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  EXPECT_TRUE(ended.received.ok()) << why_not(ended.received);
  EXPECT_TRUE(identical(from, to));
  EXPECT_EQ(ended.sent.report.verify, Verify::full);
  EXPECT_EQ(ended.received.report.verify, Verify::full);
}

TEST(VerifyFull, FindsAPageThatTheTrackerLost) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({300 * k_unit_bytes}));
  MemoryDestination to;
  from.on_pause = [&]() -> Result<void> {
    from.write_unnoticed(0, 7, std::byte{0x77});
    return {};
  };
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", in_full());
  ASSERT_TRUE(ended.sent.why_not);
  EXPECT_EQ(ended.sent.why_not->code, Errc::integrity);
  EXPECT_EQ(ended.sent.owner, Owner::source);
  EXPECT_EQ(from.resumes(), 1u);
  ASSERT_TRUE(ended.received.why_not);
  EXPECT_EQ(ended.received.why_not->code, Errc::integrity);
  EXPECT_EQ(ended.received.owner, Owner::source);
  EXPECT_EQ(to.prepares(), 0u);
  EXPECT_EQ(to.starts(), 0u);
  for (const Outcome& outcome : {ended.sent, ended.received}) {
    EXPECT_THAT(why_not(outcome), HasSubstr("'ram0'")) << "it names the region";
  }
}

TEST(VerifyPages, CannotSeeAPageThatTheTrackerLost) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({300 * k_unit_bytes}));
  MemoryDestination to;
  from.on_pause = [&]() -> Result<void> {
    from.write_unnoticed(0, 7, std::byte{0x77});
    return {};
  };
  SendOptions options = in_full();
  options.verify = Verify::pages;
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", options);
  EXPECT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  EXPECT_FALSE(identical(from, to));
}

}  // namespace
}  // namespace ferry::test
