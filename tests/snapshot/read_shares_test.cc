// Every present unit goes to one lane, whoever is quick and whoever slow.
#include "snapshot/read_shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "snapshot/lane_crew.h"
#include "tests/session/memory_guest.h"
#include "wire/image_format.h"

namespace ferry::test {
namespace {

constexpr std::uint64_t k_mib = 1024 * 1024;

using Unit = std::pair<RegionId, std::uint64_t>;

/// Marks all units of the runs as taken; each must be present, and new.
class Taken {
 public:
  explicit Taken(const PageBitmap& present) : present_(present) {}
  void add(const PageRun& run) {
    EXPECT_GT(run.length, 0u);
    EXPECT_LE(run.length, LaneCrew::k_work_bytes);
    EXPECT_EQ(run.length % k_unit_bytes, 0u);
    for (std::uint64_t at = run.offset; at < run.offset + run.length; at += k_unit_bytes) {
      EXPECT_TRUE(present_.test(run.region, at));
      EXPECT_TRUE(units_.emplace(run.region, at).second) << "twice: " << at;
    }
  }
  std::size_t count() const { return units_.size(); }

 private:
  const PageBitmap& present_;
  std::set<Unit> units_;
};

TEST(ReadShares, OneIsTakenInTheOrderOfTheFileByAllLanes) {
  const Layout layout = layout_of({5 * k_mib, 0, 3 * k_mib + 17});
  PageBitmap present(layout);
  present.mark_all();
  ReadShares shares(present, layout, 1);
  Taken taken(present);
  std::vector<PageRun> runs;
  for (unsigned turn = 0; const auto run = shares.next(turn % 3); ++turn) {
    taken.add(*run);
    runs.push_back(*run);
  }
  EXPECT_EQ(taken.count(), present.count());
  EXPECT_EQ(runs.size(), 9u);
  EXPECT_TRUE(std::ranges::is_sorted(
      runs, {}, [](const PageRun& run) { return Unit(run.region, run.offset); }));
  EXPECT_FALSE(shares.next(2)) << "and so it stays";
}

TEST(ReadShares, LanesOfTheirOwnKeepToTheirOwn) {
  const Layout layout = layout_of({64 * k_mib});
  PageBitmap present(layout);
  present.mark_all();
  ReadShares shares(present, layout, 2);
  for (std::uint64_t i = 0; i < 32; ++i) {
    EXPECT_EQ(shares.next(0), (PageRun{0, i * k_mib, k_mib}));
    EXPECT_EQ(shares.next(1), (PageRun{0, (32 + i) * k_mib, k_mib}));
  }
  EXPECT_FALSE(shares.next(0));
  EXPECT_FALSE(shares.next(1));
}

TEST(ReadShares, WhoIsDoneTakesOverHalfOfWhatMostIsLeftOf) {
  const Layout layout = layout_of({64 * k_mib});
  PageBitmap present(layout);
  present.mark_all();
  ReadShares shares(present, layout, 2);
  for (int i = 0; i < 32; ++i) ASSERT_TRUE(shares.next(0));
  EXPECT_EQ(shares.next(0), (PageRun{0, 48 * k_mib, k_mib})) << "behind, and not before";
  EXPECT_EQ(shares.next(1), (PageRun{0, 32 * k_mib, k_mib}));
}

TEST(ReadShares, ALaneThatIsTheOnlyOneAtWorkReadsAllButWhatTheOthersAreAt) {
  const Layout layout = layout_of({100 * k_mib});
  PageBitmap present(layout);
  present.mark_all();
  ReadShares shares(present, layout, 4);
  Taken taken(present);
  while (const auto run = shares.next(2)) taken.add(*run);
  while (const auto run = shares.next(0)) taken.add(*run);
  while (const auto run = shares.next(1)) taken.add(*run);
  while (const auto run = shares.next(3)) taken.add(*run);
  EXPECT_EQ(taken.count(), present.count());
}

TEST(ReadShares, OfManyRegionsAndHolesEveryUnitGoesToOneLane) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::mt19937_64 random(seed);
    std::vector<std::uint64_t> lengths(1 + random() % 6);
    for (auto& length : lengths)
      length = random() % 3 == 0 ? random() % 5000 : random() % (9 * k_mib);
    const Layout layout = layout_of(lengths);
    PageBitmap present(layout);
    for (RegionId region = 0; region < lengths.size(); ++region) {
      for (std::uint64_t at = 0; at < lengths[region];) {
        const std::uint64_t run =
            std::min((1 + random() % 700) * k_unit_bytes, lengths[region] - at);
        if (random() % 2 == 0) present.mark({region, at, run});
        at += wire::padded(run);
      }
    }
    const auto lanes = static_cast<unsigned>(1 + random() % 5);
    ReadShares shares(present, layout, static_cast<unsigned>(1 + random() % lanes));
    std::set<unsigned> at_work;
    for (unsigned lane = 0; lane < lanes; ++lane) at_work.insert(lane);
    Taken taken(present);
    while (!at_work.empty()) {
      const auto lane = static_cast<unsigned>(random() % lanes);
      if (!at_work.contains(lane)) continue;
      if (const auto run = shares.next(lane)) {
        taken.add(*run);
      } else {
        at_work.erase(lane);
      }
    }
    EXPECT_EQ(taken.count(), present.count()) << seed;
  }
}

TEST(ReadShares, ThereMayBeNothingToRead) {
  for (const Layout& layout : {layout_of({}), layout_of({0}), layout_of({k_mib})}) {
    const PageBitmap present(layout);
    ReadShares shares(present, layout, 3);
    EXPECT_FALSE(shares.next(0));
    EXPECT_FALSE(shares.next(2));
  }
}

}  // namespace
}  // namespace ferry::test
