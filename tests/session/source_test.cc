#include "session/source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/session/memory_guest.h"
#include "tests/session/script.h"

namespace ferry::test {
namespace {

using testing::ElementsAre;

TEST(Source, SendsAGuestThatWritesNothingInOneRound) {
  Script script;
  MemorySource guest(layout_of({3 * k_unit, 0, 100}));
  const Trial trial = run(script, guest);
  EXPECT_TRUE(trial.done);
  EXPECT_EQ(trial.state, SourceState::done);
  EXPECT_THAT(
      script.calls,
      ElementsAre("layout", "start tracking", "begin round 0", "submit 0:0+12288", "submit 2:0+100",
                  "end round 0", "harvest", "pause", "harvest", "harvest", "prepare", "commit"));
}

TEST(Source, SendsWhatIsLeftOverWithTheGuestPaused) {
  Script script;
  MemorySource guest(layout_of({4 * k_unit, k_unit + 1}));
  script.dirty = {{{0, k_unit, k_unit}}, {{0, 3 * k_unit, k_unit}, {1, k_unit, 1}}};
  EXPECT_TRUE(run(script, guest).done);
  EXPECT_THAT(script.calls,
              ElementsAre("layout", "start tracking", "begin round 0", "submit 0:0+16384",
                          "submit 1:0+4097", "end round 0", "harvest", "pause", "harvest",
                          "begin round 1, still", "submit 0:4096+4096", "submit 0:12288+4096",
                          "submit 1:4096+1", "end round 1", "harvest", "prepare", "commit"));
}

TEST(Source, SendsAnotherRoundWhileTheGuestRunsIfMuchIsDirty) {
  Script script;
  MemorySource guest(layout_of({k_much * k_unit}));
  script.dirty = {{{0, 0, k_much * k_unit}}, {}, {{0, 0, k_unit}}};
  const Trial trial = run(script, guest, when_nothing_is_dirty());
  EXPECT_TRUE(trial.done);
  EXPECT_EQ(trial.rounds, 3u);
  EXPECT_THAT(script.calls,
              ElementsAre("layout", "start tracking", "begin round 0", "submit 0:0+16777216",
                          "end round 0", "harvest", "begin round 1", "submit 0:0+16777216",
                          "end round 1", "harvest", "pause", "harvest", "begin round 2, still",
                          "submit 0:0+4096", "end round 2", "harvest", "prepare", "commit"));
}

TEST(Source, SendsSuspectsOfALiveRoundAgain) {
  Script script;
  MemorySource guest(layout_of({8 * k_unit}));
  script.suspects = {{{0, 5 * k_unit, 2 * k_unit}}};
  EXPECT_TRUE(run(script, guest).done);
  EXPECT_THAT(script.calls,
              ElementsAre("layout", "start tracking", "begin round 0", "submit 0:0+32768",
                          "end round 0", "harvest", "pause", "harvest", "begin round 1, still",
                          "submit 0:20480+8192", "end round 1", "harvest", "prepare", "commit"));
}

TEST(Source, DoesNotSendForEverWhatARecipientSuspectsOfAGuestThatStandsStill) {
  Script script;
  MemorySource guest(layout_of({8 * k_unit}));
  script.suspects.assign(100, {{0, 5 * k_unit, 2 * k_unit}});
  const Trial trial = run(script, guest);
  ASSERT_FALSE(trial.done);
  EXPECT_EQ(trial.done.error().code, Errc::protocol);
  EXPECT_EQ(trial.state, SourceState::resumed);
  EXPECT_EQ(guest.resumes(), 1u);
  EXPECT_EQ(trial.rounds, 2u);
}

/// What a guest and its tracker hear, from the pause on.
std::vector<std::string> end_of(Script& script) {
  MemorySource guest(layout_of({k_unit}));
  guest.on_stop_tracking = [&script] { script.calls.push_back("stop tracking"); };
  run(script, guest);
  return {std::ranges::find(script.calls, "pause"), script.calls.end()};
}

TEST(Source, StopsTheTrackerWhenTheGuestRunsElsewhere) {
  Script script;
  EXPECT_THAT(end_of(script),
              ElementsAre("pause", "harvest", "harvest", "prepare", "commit", "stop tracking"));
}

TEST(Source, StopsTheTrackerWhenTheGuestRunsHereAgain) {
  Script script;
  script.broken_when_ready = true;
  EXPECT_THAT(end_of(script),
              ElementsAre("pause", "harvest", "harvest", "prepare", "resume", "stop tracking"));
}

TEST(Source, StopsATrackerThatCouldNotStart) {
  Script script;
  script.fail_at = 1;
  MemorySource guest(layout_of({k_unit}));
  guest.on_stop_tracking = [&script] { script.calls.push_back("stop tracking"); };
  EXPECT_FALSE(run(script, guest).done);
  EXPECT_THAT(script.calls, ElementsAre("layout", "start tracking", "stop tracking"));
}

TEST(Source, TakesDigestsOnlyWhereAllIsToBeVerified) {
  for (const Verify verify : {Verify::pages, Verify::full}) {
    Script script;
    MemorySource guest(layout_of({2 * k_unit, 0, 100}));
    SendOptions options;
    options.verify = verify;
    EXPECT_TRUE(run(script, guest, options).done);
    EXPECT_EQ(script.digests.size(), verify == Verify::full ? 3u : 0u);
  }
}

TEST(Source, SavesTheStateOfAPausedGuestAndSendsWhatThatHasWritten) {
  Script script;
  MemorySource guest(layout_of({8 * k_unit}));
  script.dirty = {{}, {{0, k_unit, k_unit}}, {{0, 7 * k_unit, k_unit}}};
  guest.on_save = [](StateWriter& out) -> Result<void> {
    out.section("clock", 4).u64(1);
    out.section("empty");
    return {};
  };
  const Trial trial = run(script, guest);
  EXPECT_TRUE(trial.done);
  EXPECT_THAT(
      script.calls,
      ElementsAre("layout", "start tracking", "begin round 0", "submit 0:0+32768", "end round 0",
                  "harvest", "pause", "harvest", "begin round 1, still", "submit 0:4096+4096",
                  "end round 1", "section clock 4", "state +8", "end section +8", "section empty 1",
                  "end section +0", "harvest", "begin round 2, still", "submit 0:28672+4096",
                  "end round 2", "prepare", "commit"));
  EXPECT_EQ(trial.report.state_bytes, 8u);
  EXPECT_EQ(trial.report.state_sections, 2u);
}

TEST(Source, AGuestThatCannotSaveItsStateStays) {
  Script script;
  MemorySource guest(layout_of({k_unit}));
  guest.on_save = [](StateWriter& out) -> Result<void> {
    out.section("gpu");
    return fail(Errc::unsupported, "the gpu cannot move");
  };
  const Trial trial = run(script, guest);
  ASSERT_FALSE(trial.done);
  EXPECT_EQ(trial.done.error().code, Errc::guest);
  EXPECT_EQ(trial.done.error().text(), "save device state: the gpu cannot move");
  EXPECT_TRUE(guest.runs());
}

TEST(Source, HandsOverWithATokenOfItsOwnEachTime) {
  Script one;
  Script other;
  MemorySource guest(layout_of({k_unit}));
  EXPECT_TRUE(run(one, guest).done);
  EXPECT_TRUE(run(other, guest).done);
  EXPECT_NE(one.token, other.token);
  EXPECT_NE(one.token, OwnerToken{});
}

TEST(Source, DoesNotTouchAGuestBeforeTheRecipientAgrees) {
  Script script;
  script.fail_at = 0;
  MemorySource guest(layout_of({k_unit}));
  const Trial trial = run(script, guest);
  EXPECT_FALSE(trial.done);
  EXPECT_THAT(script.calls, ElementsAre("layout"));
  EXPECT_EQ(guest.harvests(), 0u);
  EXPECT_EQ(guest.pauses(), 0u);
}

}  // namespace
}  // namespace ferry::test
