// The line is cut at the boundary of every message that either side writes: never two owners.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "channels/buffer.h"
#include "tests/session/cutting.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"

namespace ferry::test {
namespace {

constexpr std::size_t k_more_than_there_are = 200;

/// What must hold wherever the line was cut.
void expect_at_most_one_owner(const Ended& ended, const Scissors& scissors, Side cut_at,
                              const MemorySource& from, const MemoryDestination& to) {
  EXPECT_LE(from.runs() + to.starts(), 1u) << "the guest runs twice";
  EXPECT_FALSE(ended.sent.owner == Owner::source && ended.received.owner == Owner::destination);
  EXPECT_EQ(to.starts() == 1, ended.received.owner == Owner::destination);
  EXPECT_EQ(from.runs(), ended.sent.owner == Owner::source);
  EXPECT_EQ(ended.sent.ok(), ended.sent.owner == Owner::destination);
  if (cut_at != Side::source) return;
  if (!scissors.commit_passed()) {
    EXPECT_EQ(to.starts(), 0u);
  } else {
    EXPECT_NE(ended.sent.owner, Owner::source);
  }
}

void expect_a_good_end(const Ended& ended, const MemorySource& from, const MemoryDestination& to) {
  EXPECT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  EXPECT_TRUE(ended.received.ok()) << why_not(ended.received);
  EXPECT_TRUE(identical(from, to));
}

/// Has two rounds, the second with the guest paused, and so much device state that some goes over
/// lanes.
class CutLine : public testing::TestWithParam<Side> {
 protected:
  /// Cuts after 0, 1, 2, ... messages, until there are none left to cut after. `migrate_once` says
  /// what came of it.
  template <class Migrate>
  void cut_everywhere(Migrate migrate_once) {
    for (std::size_t messages = 0; messages < k_more_than_there_are; ++messages) {
      SCOPED_TRACE("after " + std::to_string(messages) + " messages");
      Scissors scissors(messages);
      MemorySource from(layout_of({20 * k_unit_bytes, 5}));
      from.on_pause = [&]() -> Result<void> {
        from.write(0, 2, std::byte{2});
        return {};
      };
      from.on_save = [](StateWriter& out) -> Result<void> {
        out.section("accelerator").bytes(std::vector<std::byte>(3 << 19));
        return {};
      };
      MemoryDestination to;
      to.on_load = [](StateReader& in) -> Result<void> {
        while (FERRY_TRY(in.next())) in.skip();
        return {};
      };
      const Ended ended = migrate_once(scissors, from, to);
      expect_at_most_one_owner(ended, scissors, GetParam(), from, to);
      if (!ended.sent.ok()) continue;
      expect_a_good_end(ended, from, to);
      EXPECT_GT(messages, 4u);
      return;
    }
    FAIL() << "it never came to an end";
  }
};

TEST_P(CutLine, NeverGivesAGuestOnOneChannelTwoOwners) {
  const auto runtime = runtime_of_all_transports();
  cut_everywhere([&](Scissors& scissors, MemorySource& from, MemoryDestination& to) {
    auto [ours, theirs] = make_buffer_pair();
    auto& cut = GetParam() == Side::source ? ours : theirs;
    cut = scissors.on(std::move(cut));
    return migrate_over(*runtime, from, to, std::move(ours), std::move(theirs), {});
  });
}

TEST_P(CutLine, NeverGivesAGuestOnSeveralChannelsTwoOwners) {
  cut_everywhere([&](Scissors& scissors, MemorySource& from, MemoryDestination& to) {
    const auto runtime = runtime_of_all_transports();
    runtime->add(cut_tcp(scissors, GetParam()));
    SendOptions options;
    options.channels = 2;
    return migrate(*runtime, from, to, "tcp://127.0.0.1:0", options);
  });
}

TEST(CutBehindTheCommit, LeavesTheOwnerUnknownToTheSource) {
  const auto runtime = runtime_of_all_transports();
  Scissors scissors(Scissors::Behind::commit);
  MemorySource from(layout_of({20 * k_unit_bytes}));
  MemoryDestination to;
  auto [ours, theirs] = make_buffer_pair();
  const Ended ended =
      migrate_over(*runtime, from, to, scissors.on(std::move(ours)), std::move(theirs), {});
  expect_at_most_one_owner(ended, scissors, Side::source, from, to);
  EXPECT_EQ(ended.sent.owner, Owner::unknown);
  EXPECT_EQ(ended.sent.why_not.value().code, Errc::disconnected);
  EXPECT_EQ(from.pauses(), 1u);
  EXPECT_EQ(from.resumes(), 0u);
}

INSTANTIATE_TEST_SUITE_P(At, CutLine, testing::Values(Side::source, Side::destination),
                         [](const auto& test) {
                           return test.param == Side::source ? "TheSource" : "TheDestination";
                         });

}  // namespace
}  // namespace ferry::test
