// A guest that runs while it is moved: another process writes to its memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include "channels/buffer.h"
#include "tests/same_bytes.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/mutated_guest.h"

namespace ferry::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr std::uint64_t k_pages = 8192;  // 32 MiB
constexpr std::uint64_t k_hot = 256;

SendOptions options_of(unsigned channels, std::chrono::milliseconds max_downtime) {
  SendOptions options;
  options.channels = channels;
  options.max_downtime = max_downtime;
  return options;
}

void expect_moved(const Ended& ended, const MutatedSource& from, const MemoryDestination& to) {
  ASSERT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  ASSERT_TRUE(ended.received.ok()) << why_not(ended.received);
  EXPECT_FALSE(from.runs());
  EXPECT_EQ(to.starts(), 1u);
  EXPECT_TRUE(same_bytes(from.bytes(), to.mappings()->region(0)));
}

void expect_at_home(const Ended& ended, Errc why, const MutatedSource& from,
                    const MemoryDestination& to) {
  ASSERT_FALSE(ended.sent.ok());
  EXPECT_EQ(ended.sent.why_not->code, why) << why_not(ended.sent);
  EXPECT_EQ(ended.sent.owner, Owner::source);
  EXPECT_EQ(to.starts(), 0u);
  EXPECT_TRUE(from.runs());
  from.wait_for_a_write();
}

TEST(Precopy, MovesAGuestThatWritesAllTheTimeByteForByte) {
  const auto runtime = runtime_of_all_transports();
  for (int trial = 0; trial < 5; ++trial) {
    MutatedSource from(k_pages, k_hot);
    MemoryDestination to;
    from.wait_for_a_write();
    const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", options_of(2, 300ms));
    expect_moved(ended, from, to);
  }
}

TEST(Precopy, MovesItOverOneChannelToo) {
  const auto runtime = runtime_of_all_transports();
  MutatedSource from(k_pages, k_hot);
  MemoryDestination to;
  auto [ours, theirs] = make_buffer_pair();
  const Ended ended =
      migrate_over(*runtime, from, to, std::move(ours), std::move(theirs), options_of(1, 300ms));
  expect_moved(ended, from, to);
}

TEST(Precopy, SendsWhatSavingTheStateHasWritten) {
  const auto runtime = runtime_of_all_transports();
  MutatedSource from(k_pages, k_hot);
  MemoryDestination to;
  from.on_save = [&](StateWriter& out) -> Result<void> {
    from.write_as_device(k_pages - 1, std::byte{0xdd});
    out.section("ring").u64(from.writes());
    return {};
  };
  to.on_load = [&](StateReader& in) -> Result<void> {
    // All memory is there when the first device loads.
    EXPECT_TRUE(same_bytes(from.bytes(), to.mappings()->region(0)));
    EXPECT_EQ(FERRY_TRY(in.next()).value().name, "ring");
    EXPECT_EQ(FERRY_TRY(in.u64()), from.writes());
    return {};
  };
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", options_of(2, 300ms));
  expect_moved(ended, from, to);
  EXPECT_EQ(to.mappings()->region(0).back(), std::byte{0xdd});
  EXPECT_EQ(ended.sent.report.state_sections, 1u);
  EXPECT_EQ(ended.sent.report.state_bytes, 8u);
  EXPECT_EQ(ended.received.report.state_bytes, 8u);
  EXPECT_GT(ended.sent.report.downtime_parts.state_memory.count(), 0);
}

TEST(Precopy, AccountsForEveryRound) {
  const auto runtime = runtime_of_all_transports();
  MutatedSource from(k_pages, k_hot);
  MemoryDestination to;
  from.wait_for_a_write();
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", options_of(2, 300ms));
  expect_moved(ended, from, to);

  const Report& report = ended.sent.report;
  ASSERT_EQ(report.each_round.size(), report.rounds);
  EXPECT_EQ(report.each_round.front().bytes, k_pages * k_unit_bytes);
  EXPECT_TRUE(report.each_round.front().guest_ran);
  EXPECT_FALSE(report.each_round.back().guest_ran);
  EXPECT_GT(report.each_round.front().dirty_rate, 0u);
  std::uint64_t wire_bytes = 0;
  std::uint64_t suspect = 0;
  for (const RoundReport& round : report.each_round) {
    wire_bytes += round.wire_bytes;
    suspect += round.suspect;
    EXPECT_EQ(round.round, static_cast<std::uint32_t>(&round - report.each_round.data()));
  }
  EXPECT_EQ(wire_bytes, report.wire_bytes);
  EXPECT_EQ(suspect, report.suspect);
  EXPECT_EQ(report.resent, 0u) << "a page that was written to on the way is no damage";
  ASSERT_EQ(report.lanes.size(), 2u);
  EXPECT_EQ(report.lanes[0].wire_bytes + report.lanes[1].wire_bytes, report.wire_bytes);
  const DowntimeReport& parts = report.downtime_parts;
  EXPECT_LE(parts.pause + parts.memory + parts.state + parts.state_memory + parts.digests +
                parts.prepare + parts.commit,
            report.downtime);
  EXPECT_THAT(report.limit, HasSubstr("limited by"));
}

TEST(Precopy, LeavesAGuestAloneThatDoesNotConvergeIfItIsTo) {
  const auto runtime = runtime_of_all_transports();
  MutatedSource from(k_pages, k_hot);
  MemoryDestination to;
  SendOptions options = options_of(2, 0ms);  // only when nothing is dirty: never
  options.when_not_converging = NotConverging::give_up;
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", options);
  expect_at_home(ended, Errc::not_converging, from, to);
  EXPECT_THAT(why_not(ended.sent), HasSubstr("does not converge"));
  EXPECT_EQ(from.pauses(), 0u);
}

TEST(Precopy, EndsAfterItsRoundsOrItsTime) {
  const auto runtime = runtime_of_all_transports();
  for (const bool rounds : {true, false}) {
    MutatedSource from(k_pages, k_hot);
    MemoryDestination to;
    SendOptions options = options_of(1, 0ms);
    if (rounds) options.max_rounds = 3;
    if (!rounds) options.max_time = 50ms;
    const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", options);
    expect_at_home(ended, Errc::not_converging, from, to);
    if (rounds) {
      EXPECT_EQ(ended.sent.report.rounds, 3u);
    }
  }
}

TEST(Precopy, SlowsAGuestUntilItConvergesAndNoLonger) {
  const auto runtime = runtime_of_all_transports();
  MutatedSource from(k_pages, k_hot);
  MemoryDestination to;
  std::vector<unsigned> percents;
  SendOptions options = options_of(1, 0ms);
  options.when_not_converging = NotConverging::throttle;
  options.throttle = [&](unsigned percent) {
    percents.push_back(percent);
    // Asleep for longer than any round, from half its speed on.
    if (percent >= 50) from.set_rest(900ms);
  };
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", options);
  expect_moved(ended, from, to);
  ASSERT_GE(percents.size(), 5u);
  EXPECT_EQ(percents.front(), 20u);
  EXPECT_EQ(percents.back(), 0u);
  EXPECT_TRUE(std::is_sorted(percents.begin(), percents.end() - 1));
  EXPECT_EQ(ended.sent.report.throttle, percents[percents.size() - 2]);
}

TEST(Precopy, AsksBeforeItPausesAndGoesOnWhereThatTookLong) {
  const auto runtime = runtime_of_all_transports();
  MutatedSource from(k_pages, k_hot);
  MemoryDestination to;
  unsigned asked = 0;
  SendOptions options = options_of(1, 300ms);
  options.before_switch = [&]() -> Result<void> {
    ++asked;
    EXPECT_EQ(from.pauses(), 0u);
    from.wait_for_a_write();
    return {};
  };
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", options);
  expect_moved(ended, from, to);
  EXPECT_EQ(asked, 1u);
}

TEST(Precopy, StaysWhereTheHookSaysNo) {
  const auto runtime = runtime_of_all_transports();
  MutatedSource from(k_pages, k_hot);
  MemoryDestination to;
  SendOptions options = options_of(1, 300ms);
  options.before_switch = []() -> Result<void> { return fail(Errc::usage, "not today"); };
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", options);
  expect_at_home(ended, Errc::guest, from, to);
  EXPECT_THAT(why_not(ended.sent), HasSubstr("not today"));
}

TEST(Precopy, WithNothingToSlowAGuestWithIsAUsageError) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({k_unit_bytes}));
  SendOptions options;
  options.when_not_converging = NotConverging::throttle;
  const Outcome outcome = send(*runtime, from, "tcp://127.0.0.1:1", options);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.why_not->code, Errc::usage);
}

/// Every place in which a host program is called has a stop request come.
TEST(Precopy, CanBeCancelledAtAnyMomentBeforeTheCommit) {
  const auto runtime = runtime_of_all_transports();
  for (int moment = 0; moment < 5; ++moment) {
    SCOPED_TRACE(moment);
    MutatedSource from(k_pages, k_hot);
    MemoryDestination to;
    Receiving receiving(*runtime, to);
    std::stop_source stop;
    SendOptions options = options_of(2, moment == 1 ? 0ms : 300ms);
    options.when_not_converging = NotConverging::throttle;
    options.throttle = [&](unsigned) { stop.request_stop(); };
    if (moment == 0) options.observer.connected = [&](const ChannelInfo&) { stop.request_stop(); };
    if (moment == 2) {
      options.before_switch = [&]() -> Result<void> {
        stop.request_stop();
        return {};
      };
    }
    from.on_save = [&](StateWriter& out) -> Result<void> {
      if (moment == 3) stop.request_stop();
      out.section("device").u64(1);
      return {};
    };
    to.on_load = [&](StateReader& in) -> Result<void> {
      if (moment == 4) stop.request_stop();
      (void)FERRY_TRY(in.next());
      (void)FERRY_TRY(in.u64());
      return {};
    };
    Ended ended;
    ended.sent = send(*runtime, from, receiving.uri(), options, stop.get_token());
    ended.received = receiving.outcome();
    expect_at_home(ended, Errc::cancelled, from, to);
    EXPECT_FALSE(ended.received.ok());
  }
}

TEST(Precopy, TellsAnObserverHowItGoes) {
  const auto runtime = runtime_of_all_transports();
  MutatedSource from(k_pages, k_hot);
  MemoryDestination to;
  Receiving receiving(*runtime, to);
  std::mutex mutex;
  std::optional<PrecopyStatus> last;
  std::stop_source stop;
  SendOptions options = options_of(1, 0ms);
  options.observer.progress = [&](const Progress& progress) {
    const std::scoped_lock lock(mutex);
    last = progress.precopy;
    if (last && last->outlook == Outlook::not_converging) stop.request_stop();
  };
  const Outcome sent = send(*runtime, from, receiving.uri(), options, stop.get_token());
  EXPECT_EQ(sent.why_not.value().code, Errc::cancelled);
  (void)receiving.outcome();
  ASSERT_TRUE(last);
  EXPECT_GT(last->round, 1u);
  EXPECT_GT(last->dirty_rate, 0u);
  EXPECT_GT(last->bandwidth, 0u);
  EXPECT_FALSE(last->eta);
}

}  // namespace
}  // namespace ferry::test
