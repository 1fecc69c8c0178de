// A Source of whose calls, the guest's, the tracker's and the recipient's, each fails once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/session/memory_guest.h"
#include "tests/session/script.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;

/// Has a round of everything, one with the guest running, and one with the guest paused.
Script eventful() {
  Script script;
  script.dirty = {{{0, 0, k_much * k_unit}}, {}, {{0, 2 * k_unit, k_unit}}};
  script.suspects = {{{0, k_unit, k_unit}}};
  return script;
}

Layout enough() { return layout_of({k_much * k_unit, 10}); }

bool was_called(const Script& script, const std::string& name) {
  return std::ranges::find(script.calls, name) != script.calls.end();
}

std::vector<std::string> calls_of_a_good_end() {
  Script script = eventful();
  MemorySource guest(enough());
  EXPECT_TRUE(run(script, guest, when_nothing_is_dirty()).done);
  return script.calls;
}

TEST(SourceFailure, ResumesAGuestThatWasPausedAndNoOther) {
  const std::vector<std::string> calls = calls_of_a_good_end();
  ASSERT_GT(calls.size(), 15u);
  const auto commit = std::ranges::find(calls, "commit") - calls.begin();
  const auto pause = std::ranges::find(calls, "pause") - calls.begin();
  for (std::ptrdiff_t at = 0; at < commit; ++at) {
    Script script = eventful();
    script.fail_at = static_cast<std::size_t>(at);
    MemorySource guest(enough());
    const Trial trial = run(script, guest, when_nothing_is_dirty());
    const std::string& name = calls[static_cast<std::size_t>(at)];
    ASSERT_FALSE(trial.done) << name;
    EXPECT_THAT(trial.done.error().context, HasSubstr("scripted failure")) << name;
    EXPECT_EQ(trial.state, SourceState::resumed) << name;
    EXPECT_EQ(owner_in(trial.state), Owner::source) << name;
    EXPECT_EQ(guest.resumes(), at > pause ? 1u : 0u) << name;
    EXPECT_TRUE(guest.runs()) << name;
    EXPECT_FALSE(guest.tracking()) << name;
    EXPECT_FALSE(was_called(script, "commit")) << name;
    // Nothing is asked of a recipient that has failed.
    EXPECT_EQ(script.calls.size(), script.fail_at.value() + (at > pause ? 2 : 1)) << name;
  }
}

TEST(SourceFailure, SaysNoCommitOverALineThatIsKnownToBeCut) {
  Script script = eventful();
  script.broken_when_ready = true;
  MemorySource guest(enough());
  const Trial trial = run(script, guest, when_nothing_is_dirty());
  ASSERT_FALSE(trial.done);
  EXPECT_EQ(trial.state, SourceState::resumed);
  EXPECT_EQ(guest.resumes(), 1u);
  EXPECT_FALSE(was_called(script, "commit"));
}

TEST(SourceFailure, LeavesTheGuestPausedWhenNobodyKnowsWhoHasIt) {
  const std::vector<std::string> calls = calls_of_a_good_end();
  ASSERT_EQ(calls.back(), "commit");
  Script script = eventful();
  script.fail_at = calls.size() - 1;
  MemorySource guest(enough());
  const Trial trial = run(script, guest, when_nothing_is_dirty());
  ASSERT_FALSE(trial.done);
  EXPECT_EQ(trial.state, SourceState::unknown);
  EXPECT_EQ(owner_in(trial.state), Owner::unknown);
  EXPECT_EQ(guest.pauses(), 1u);
  EXPECT_EQ(guest.resumes(), 0u);
  EXPECT_FALSE(guest.tracking());
}

TEST(SourceFailure, SaysThatItIsTheGuestsWhereOneOfItsCallsFailed) {
  const std::vector<std::string> calls = calls_of_a_good_end();
  for (const char* name : {"start tracking", "harvest", "pause"}) {
    Script script = eventful();
    script.fail_at = static_cast<std::size_t>(std::ranges::find(calls, name) - calls.begin());
    MemorySource guest(enough());
    const Trial trial = run(script, guest, when_nothing_is_dirty());
    ASSERT_FALSE(trial.done);
    EXPECT_EQ(trial.done.error().code, Errc::guest) << name;
  }
}

TEST(SourceFailure, OfALineThatTakesNoStateIsWhyTheGuestStays) {
  for (const char* const at : {"section clock 1", "state +8", "end section +8"}) {
    const auto save = [](StateWriter& out) -> Result<void> {
      out.section("clock").u64(1);
      return {};
    };
    Script good;
    MemorySource guest(layout_of({k_unit}));
    guest.on_save = save;
    ASSERT_TRUE(run(good, guest, when_nothing_is_dirty()).done);
    Script script;
    script.fail_at = std::ranges::find(good.calls, at) - good.calls.begin();
    MemorySource other(layout_of({k_unit}));
    other.on_save = save;
    const Trial trial = run(script, other, when_nothing_is_dirty());
    ASSERT_FALSE(trial.done) << at;
    EXPECT_EQ(trial.done.error().code, Errc::disconnected) << at;
    EXPECT_TRUE(other.runs()) << at;
  }
}

TEST(SourceFailure, HearsAStopRequestWhileItTakesDigests) {
  Script script;
  MemorySource guest(layout_of({k_unit}));
  std::stop_source stop;
  guest.on_pause = [&]() -> Result<void> {
    stop.request_stop();
    return {};
  };
  ScriptedRecipient recipient(script);
  PrecopyGauge gauge;
  SendOptions options;
  options.verify = Verify::full;
  Source source(guest, recipient, options, gauge, stop.get_token());
  const auto done = source.run();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::cancelled);
  EXPECT_EQ(guest.resumes(), 1u);
}

}  // namespace
}  // namespace ferry::test
