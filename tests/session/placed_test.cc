// Migrations whose pages are put straight into the destination's memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "tests/multifd/test_memory.h"
#include "tests/same_bytes.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/mutated_guest.h"
#include "tests/session/placing_transport.h"

namespace ferry::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* k_anywhere = "placing://127.0.0.1:0";

std::unique_ptr<Runtime> runtime_that_places(PlacingOptions options = {}) {
  auto runtime = make_runtime().value();
  runtime->add(make_placing_transport(std::move(options)));
  return runtime;
}

class PlacedMigration : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Channels, PlacedMigration, testing::Values(1u, 2u, 8u),
                         testing::PrintToStringParamName());

TEST_P(PlacedMigration, MakesBothSidesIdenticalAndSaysWhatWasPlaced) {
  const auto runtime = runtime_that_places();
  MemorySource from(layout_of({3 * k_mib + 1, 0, k_unit_bytes, 1, 700 * k_unit_bytes, 0}));
  MemoryDestination to;
  SendOptions options = with_channels(GetParam());
  options.verify = Verify::full;
  const Ended ended = migrate(*runtime, from, to, k_anywhere, options);
  expect_handed_over(ended, from, to);
  for (const Report& report : {ended.sent.report, ended.received.report}) {
    EXPECT_EQ(report.placed_bytes, report.bytes - report.zero_bytes);
    EXPECT_GT(report.wire_bytes, report.placed_bytes);
    std::uint64_t of_lanes = 0;
    for (const LaneReport& lane : report.lanes) of_lanes += lane.placed_bytes;
    EXPECT_EQ(of_lanes, report.placed_bytes);
  }
}

TEST_P(PlacedMigration, MovesAGuestThatWritesAllTheTimeByteForByte) {
  const auto runtime = runtime_that_places({.landing = Landing::with_the_next_bytes});
  MutatedSource from(8192, 256);
  MemoryDestination to;
  from.wait_for_a_write();
  SendOptions options = with_channels(GetParam());
  options.max_downtime = 300ms;
  const Ended ended = migrate(*runtime, from, to, k_anywhere, options);
  ASSERT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  ASSERT_TRUE(ended.received.ok()) << why_not(ended.received);
  EXPECT_TRUE(same_bytes(from.bytes(), to.mappings()->region(0)));
  EXPECT_EQ(ended.sent.report.resent, 0u) << "a page that was written to on the way is no damage";
  EXPECT_FALSE(ended.sent.report.each_round.back().guest_ran);
  EXPECT_GE(ended.sent.report.placed_bytes, 8192 * k_unit_bytes);
}

TEST(PlacedMigrations, PlaceOverOneChannelToo) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({3 * k_mib + 1, 5000}));
  MemoryDestination to;
  auto [ours, theirs] = make_placing_pair();
  const Ended ended = migrate_over(*runtime, from, to, std::move(ours), std::move(theirs), {});
  expect_handed_over(ended, from, to);
  EXPECT_EQ(ended.received.report.placed_bytes,
            ended.received.report.bytes - ended.received.report.zero_bytes);
}

TEST(PlacedMigrations, CopyFirstAndWarnWhereTooLittleMemoryMayBePinned) {
  const auto runtime = runtime_that_places({.pinning = Pinning::staging_alone});
  MemorySource from(layout_of({4 * k_mib}));
  MemoryDestination to;
  std::vector<std::string> warned;
  SendOptions options = with_channels(3);
  options.observer.warning = [&](const Warning& warning) { warned.push_back(warning.text); };
  const Ended ended = migrate(*runtime, from, to, k_anywhere, options);
  expect_handed_over(ended, from, to);
  EXPECT_THAT(warned,
              ElementsAre(HasSubstr("pages are copied before they are placed: pin memory")));
  EXPECT_GT(ended.sent.report.zero_copy_fallbacks, 0u);
}

TEST(PlacedMigrations, PlaceAgainWhatWasDamagedWhileTheGuestRan) {
  const auto runtime = runtime_that_places({.flips = {100, 9000}});
  MemorySource from(layout_of({4 * k_mib}));
  MemoryDestination to;
  // A guest that runs may have written there meanwhile: suspects, which the last round brings.
  const Ended ended = migrate(*runtime, from, to, k_anywhere, with_channels(1));
  expect_handed_over(ended, from, to);
  EXPECT_EQ(ended.sent.report.suspect, 2u);
  EXPECT_EQ(ended.sent.report.rounds, 2u);
}

/// A source that puts a page when all is verified: its line fails, and the guest stays.
TEST(PlacedMigrations, TakeTheRightToWriteBackBeforeTheGuestLoads) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({k_mib}));
  MemoryDestination to;
  auto [ours, theirs] = make_placing_pair();
  PlacedIo* const puts = ours->facets().placed_io;
  const Bytes late = noise_bytes(k_unit_bytes, 99);
  std::optional<Errc> refused;
  from.on_save = [&](StateWriter& out) -> Result<void> {
    out.section("device").u64(1);
    return {};
  };
  // The source's threads all wait for READY: the facet is nobody's meanwhile.
  const auto put_late = [&]() -> Result<void> {
    const auto staging = FERRY_TRY(puts->staging(late.size()));
    std::ranges::copy(late, staging.begin());
    return puts->put({0, 0, late.size()}, staging);
  };
  to.on_load = [&](StateReader& in) -> Result<void> {
    if (const auto put = put_late(); !put) refused = put.error().code;
    EXPECT_TRUE(identical(from, to));
    (void)FERRY_TRY(in.next());
    (void)FERRY_TRY(in.u64());
    return {};
  };
  const Ended ended = migrate_over(*runtime, from, to, std::move(ours), std::move(theirs), {});
  EXPECT_EQ(refused, Errc::disconnected);
  EXPECT_TRUE(identical(from, to));
  EXPECT_FALSE(ended.received.ok()) << "the line of who tried it is of no more use";
  EXPECT_EQ(to.starts(), 0u);
}

/// A guest whose memory has no mapping.
class Unmapped final : public DestinationGuest {
 public:
  Result<GuestMemory> map_memory(const Layout& wanted) override {
    return GuestMemory::create(
        {{.name = wanted.regions[0].name, .length = wanted.regions[0].length, .fd = 0}});
  }
  Result<void> prepare() override { return {}; }
  Result<void> start(const OwnerToken&) override { return {}; }
};

TEST(PlacedMigrations, NeedMemoryThatIsMappedAndSaySo) {
  const auto runtime = runtime_that_places();
  Layout layout = layout_of({k_mib});
  layout.regions[0].guest_address = 0;
  MemorySource from(layout);
  Unmapped to;
  const Ended ended = migrate(*runtime, from, to, k_anywhere, with_channels(1));
  for (const Outcome& outcome : {ended.sent, ended.received}) {
    ASSERT_FALSE(outcome.ok());
    EXPECT_THAT(why_not(outcome), HasSubstr("'ram0' is not mapped, and pages cannot be placed"));
    EXPECT_EQ(outcome.owner, Owner::source);
  }
  EXPECT_EQ(ended.received.why_not->code, Errc::unsupported);
  EXPECT_TRUE(from.runs());
}

}  // namespace
}  // namespace ferry::test
