// PageSender and PageReceiver over real channels, as a session uses them.
#include <gtest/gtest.h>

#include <tuple>

#include "tests/channels/io.h"
#include "tests/multifd/test_memory.h"
#include "tests/multifd/transfer.h"

namespace ferry::test {
namespace {

// Regions with a partial tail, without one, smaller than a unit, and empty. The first is more than
// one item of work.
constexpr std::uint64_t k_whole_units = 512;
const std::vector<std::uint64_t> k_odd_lengths = {k_whole_units * k_unit_bytes + 123,
                                                  40 * k_unit_bytes, 1, 0};

struct Route {
  Reach from;
  Reach to;
};

class PageTransferTest
    : public ::testing::TestWithParam<std::tuple<Route, unsigned, Transfer::Line>> {
 protected:
  Route route() const { return std::get<0>(GetParam()); }
  Transfer::Options options() const {
    return {.lanes = std::get<1>(GetParam()), .line = std::get<2>(GetParam())};
  }

  /// All of the memory in one round; empty regions have no pages.
  static std::vector<PageRun> all_of(const TestMemory& memory) {
    std::vector<PageRun> runs = memory.runs();
    std::erase_if(runs, [](const PageRun& run) { return run.length == 0; });
    return runs;
  }

  static void expect_identical(Transfer& transfer, const TestMemory& source,
                               const TestMemory& destination) {
    const auto frozen = transfer.receiver().freeze();
    ASSERT_TRUE(frozen) << text_of(frozen);
    EXPECT_EQ(transfer.receiver().transcript(), transfer.sender().transcript());
    EXPECT_TRUE(transfer.receiver().complete());
    EXPECT_EQ(transfer.receiver().bytes_verified(), source.memory().total_bytes());
    EXPECT_TRUE(same_bytes(destination.content(), source.content()));
  }
};

std::string name_of(const ::testing::TestParamInfo<PageTransferTest::ParamType>& instance) {
  const auto& [route, lanes, line] = instance.param;
  const auto word = [](Reach reach) { return reach == Reach::mapping ? "Mapping" : "Descriptor"; };
  constexpr const char* k_lines[] = {"Buffers", "Sockets", "PlacingLines"};
  return std::string(word(route.from)) + "To" + word(route.to) + "Over" + std::to_string(lanes) +
         k_lines[static_cast<int>(line)];
}

INSTANTIATE_TEST_SUITE_P(
    All, PageTransferTest,
    ::testing::Combine(::testing::Values(Route{Reach::mapping, Reach::mapping},
                                         Route{Reach::descriptor, Reach::descriptor},
                                         Route{Reach::mapping, Reach::descriptor}),
                       ::testing::Values(1u, 2u, 5u),
                       ::testing::Values(Transfer::Line::buffer, Transfer::Line::socket)),
    name_of);

// Pages are placed in memory that is mapped.
INSTANTIATE_TEST_SUITE_P(
    Placed, PageTransferTest,
    ::testing::Combine(::testing::Values(Route{Reach::mapping, Reach::mapping},
                                         Route{Reach::descriptor, Reach::mapping}),
                       ::testing::Values(1u, 2u, 5u), ::testing::Values(Transfer::Line::placing)),
    name_of);

TEST_P(PageTransferTest, MakesMemoryIdenticalWhateverItHolds) {
  for (const Picture picture : k_pictures) {
    TestMemory source(route().from, k_odd_lengths);
    TestMemory destination(route().to, k_odd_lengths);
    paint(source, picture, 1);
    Transfer transfer(source.memory(), destination.memory(), options());

    const auto suspects = transfer.round(all_of(source));
    ASSERT_TRUE(suspects) << text_of(suspects);
    EXPECT_TRUE(suspects->empty());
    expect_identical(transfer, source, destination);

    const PageSender::Totals sent = transfer.sender().totals();
    const PageReceiver::Totals received = transfer.receiver().totals();
    EXPECT_EQ(sent.wire_bytes, received.wire_bytes);
    EXPECT_EQ(sent.packets, received.packets);
    EXPECT_EQ(sent.zero_bytes, received.zero_bytes);
    const bool places = std::get<2>(GetParam()) == Transfer::Line::placing;
    EXPECT_EQ(sent.placed_bytes, places ? source.memory().total_bytes() - sent.zero_bytes : 0u);
    EXPECT_EQ(received.placed_bytes, sent.placed_bytes);
    EXPECT_EQ(received.rounds, 1u);
    EXPECT_EQ(received.resent_units, 0u);
    if (picture == Picture::zeros) {
      EXPECT_EQ(sent.zero_bytes, source.memory().total_bytes());
    }
  }
}

TEST_P(PageTransferTest, BringsWhatIsRewrittenBetweenRounds) {
  TestMemory source(route().from, k_odd_lengths);
  TestMemory destination(route().to, k_odd_lengths);
  paint(source, Picture::noise, 1);
  Transfer transfer(source.memory(), destination.memory(), options());
  ASSERT_TRUE(transfer.round(all_of(source)));
  // Rewritten to zeros, to other noise, to stripes over it, and to zeros again, tail and all.
  unsigned seed = 2;
  for (const Picture picture :
       {Picture::zeros, Picture::mixed, Picture::stripes, Picture::sparse, Picture::zeros}) {
    paint(source, picture, seed++);
    const auto suspects = transfer.round(all_of(source));
    ASSERT_TRUE(suspects) << text_of(suspects);
    ASSERT_TRUE(same_bytes(destination.content(), source.content())) << "after round " << seed - 2;
  }
  expect_identical(transfer, source, destination);
  EXPECT_EQ(transfer.receiver().totals().rounds, 6u);
}

TEST_P(PageTransferTest, BringsSinglePagesOfALaterRoundAndLeavesTheOthers) {
  TestMemory source(route().from, k_odd_lengths);
  TestMemory destination(route().to, k_odd_lengths);
  paint(source, Picture::mixed, 5);
  Transfer transfer(source.memory(), destination.memory(), options());
  ASSERT_TRUE(transfer.round(all_of(source)));

  std::vector<PageRun> dirty;
  for (std::uint64_t unit = 3; unit < k_whole_units; unit += 7) {
    source.write(0, unit * k_unit_bytes, noise_bytes(k_unit_bytes, static_cast<unsigned>(unit)));
    dirty.push_back(units(unit, 1));
  }
  source.write(0, k_whole_units * k_unit_bytes, noise_bytes(123, 9));
  dirty.push_back({0, k_whole_units * k_unit_bytes, 123});
  ASSERT_TRUE(transfer.round(dirty));
  expect_identical(transfer, source, destination);
}

TEST_P(PageTransferTest, AnnouncesHolesWithoutReadingThem) {
  TestMemory source(route().from, k_odd_lengths);
  TestMemory destination(route().to, k_odd_lengths);
  const std::uint64_t hole = 300 * k_unit_bytes;
  source.write(0, hole, noise_bytes(k_odd_lengths[0] - hole, 6));
  Transfer transfer(source.memory(), destination.memory(), options());
  std::vector<PageWork> work = {{units(0, 300), Content::zeros},
                                {{0, hole, k_odd_lengths[0] - hole}, Content::data},
                                {units(0, 40, 1), Content::zeros},
                                {{2, 0, 1}, Content::zeros}};
  ASSERT_TRUE(transfer.round(work));
  expect_identical(transfer, source, destination);
}

TEST_P(PageTransferTest, EndsARoundInWhichThereWasNothing) {
  TestMemory source(route().from, k_odd_lengths);
  TestMemory destination(route().to, k_odd_lengths);
  Transfer transfer(source.memory(), destination.memory(), options());
  ASSERT_TRUE(transfer.round(all_of(source)));
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(transfer.round(std::vector<PageRun>{}));
  }
  expect_identical(transfer, source, destination);
  EXPECT_EQ(transfer.receiver().totals().rounds, 21u);
}

TEST_P(PageTransferTest, MayBeGivenUpInTheMiddleOfARound) {
  TestMemory source(route().from, k_odd_lengths);
  TestMemory destination(route().to, k_odd_lengths);
  paint(source, Picture::mixed, 8);
  Transfer transfer(source.memory(), destination.memory(), options());
  for (const PageRun& run : all_of(source)) {
    ASSERT_TRUE(transfer.sender().submit(run, Content::data));
  }
}

}  // namespace
}  // namespace ferry::test
