#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "ferry/memory.h"

namespace ferry {
namespace {

constexpr std::uint64_t k_gib = std::uint64_t{1} << 30;

Layout layout_of(std::initializer_list<std::uint64_t> lengths) {
  Layout layout;
  for (const std::uint64_t length : lengths) {
    layout.regions.push_back({.name = std::to_string(layout.regions.size()), .length = length});
  }
  return layout;
}

PageRun units(std::uint64_t first, std::uint64_t count, RegionId region = 0) {
  return {region, first * k_unit_bytes, count * k_unit_bytes};
}

/// All runs that next_run() finds, one after the other.
std::vector<PageRun> runs_of(const PageBitmap& bitmap, RegionId region,
                             std::uint64_t max_length = k_gib) {
  std::vector<PageRun> runs;
  std::uint64_t from = 0;
  while (const auto run = bitmap.next_run(region, from, max_length)) {
    runs.push_back(*run);
    from = run->offset + run->length;
  }
  return runs;
}

TEST(PageBitmap, IsEmptyAtFirst) {
  const PageBitmap bitmap(layout_of({k_unit_bytes * 100, 0, 1}));
  EXPECT_EQ(bitmap.region_count(), 3u);
  EXPECT_EQ(bitmap.count(), 0u);
  EXPECT_TRUE(bitmap.none());
  EXPECT_FALSE(bitmap.all());
  EXPECT_FALSE(bitmap.next_run(0, 0));
}

TEST(PageBitmap, OfNoMemoryIsAllAndNone) {
  for (const PageBitmap& bitmap : {PageBitmap(), PageBitmap(layout_of({0, 0}))}) {
    EXPECT_TRUE(bitmap.all());
    EXPECT_TRUE(bitmap.none());
    EXPECT_EQ(bitmap.count(), 0u);
  }
}

TEST(PageBitmap, MarksEveryPossibleRunExactly) {
  constexpr std::uint64_t k_units = 200;
  const Layout layout = layout_of({k_units * k_unit_bytes});
  for (std::uint64_t first = 0; first < k_units; ++first) {
    for (std::uint64_t count = 0; first + count <= k_units; ++count) {
      PageBitmap bitmap(layout);
      bitmap.mark(units(first, count));
      ASSERT_EQ(bitmap.count(), count) << first;
      const std::vector<PageRun> expected(count == 0 ? 0 : 1, units(first, count));
      ASSERT_EQ(runs_of(bitmap, 0), expected) << first;

      bitmap.mark_all();
      bitmap.clear(units(first, count));
      ASSERT_EQ(bitmap.count(), k_units - count) << first;
    }
  }
}

TEST(PageBitmap, AgreesWithASetOfUnits) {
  constexpr std::uint64_t k_units = 777;
  std::mt19937_64 random(20);
  for (int trial = 0; trial < 50; ++trial) {
    PageBitmap bitmap(layout_of({k_units * k_unit_bytes - 1000}));
    std::set<std::uint64_t> model;
    for (int step = 0; step < 40; ++step) {
      const std::uint64_t first = random() % k_units;
      const std::uint64_t count = 1 + random() % std::min<std::uint64_t>(k_units - first, 150);
      PageRun run = units(first, count);
      if (first + count == k_units) run.length -= 1000;
      if (random() % 3 == 0) {
        bitmap.clear(run);
        for (std::uint64_t u = first; u < first + count; ++u) model.erase(u);
      } else {
        const bool any = model.lower_bound(first) != model.lower_bound(first + count);
        if (random() % 2 == 0) {
          ASSERT_EQ(bitmap.test_and_mark(run), any);
        } else {
          bitmap.mark(run);
        }
        for (std::uint64_t u = first; u < first + count; ++u) model.insert(u);
      }
    }
    std::set<std::uint64_t> found;
    for (const PageRun& run : runs_of(bitmap, 0)) {
      for (std::uint64_t u = 0; u < units_in(run.length); ++u) {
        found.insert(run.offset / k_unit_bytes + u);
      }
    }
    ASSERT_EQ(found, model);
    ASSERT_EQ(bitmap.count(), model.size());
    for (std::uint64_t u = 0; u < k_units; ++u) {
      ASSERT_EQ(bitmap.test(0, u * k_unit_bytes), model.contains(u));
    }
  }
}

TEST(PageBitmap, CutsARunToTheRegionsLength) {
  PageBitmap bitmap(layout_of({2 * k_unit_bytes + 17}));
  bitmap.mark_all();
  EXPECT_EQ(bitmap.next_run(0, 0), (PageRun{0, 0, 2 * k_unit_bytes + 17}));
  EXPECT_EQ(bitmap.next_run(0, 2 * k_unit_bytes), (PageRun{0, 2 * k_unit_bytes, 17}));
  EXPECT_FALSE(bitmap.next_run(0, 3 * k_unit_bytes));
  EXPECT_FALSE(bitmap.next_run(0, UINT64_MAX));
}

TEST(PageBitmap, CutsARunToWhatIsAskedFor) {
  PageBitmap bitmap(layout_of({200 * k_unit_bytes}));
  bitmap.mark(units(3, 130));
  EXPECT_EQ(runs_of(bitmap, 0, 64 * k_unit_bytes),
            (std::vector{units(3, 64), units(67, 64), units(131, 2)}));
}

TEST(PageBitmap, LooksFromTheNextWholeUnit) {
  PageBitmap bitmap(layout_of({10 * k_unit_bytes}));
  bitmap.mark(units(2, 3));
  EXPECT_EQ(bitmap.next_run(0, 2 * k_unit_bytes), units(2, 3));
  EXPECT_EQ(bitmap.next_run(0, 2 * k_unit_bytes + 1), units(3, 2));
}

TEST(PageBitmap, MarksOfOneRegionAreNotInAnother) {
  PageBitmap bitmap(layout_of({k_unit_bytes, k_unit_bytes, k_unit_bytes}));
  bitmap.mark(units(0, 1, 1));
  EXPECT_FALSE(bitmap.test(0, 0));
  EXPECT_TRUE(bitmap.test(1, 0));
  EXPECT_FALSE(bitmap.test(2, 0));
}

TEST(PageBitmap, IsAllWhenTheLastUnitIsMarked) {
  for (const std::uint64_t count : {1, 63, 64, 65, 128, 129}) {
    PageBitmap bitmap(layout_of({count * k_unit_bytes, k_unit_bytes}));
    bitmap.mark(units(0, count));
    EXPECT_FALSE(bitmap.all()) << "the other region";
    bitmap.mark(units(0, 1, 1));
    EXPECT_TRUE(bitmap.all()) << count;
    bitmap.clear(units(count - 1, 1));
    EXPECT_FALSE(bitmap.all()) << count;
    bitmap.clear_all();
    EXPECT_TRUE(bitmap.none());
  }
}

TEST(PageBitmap, MarkAllMarksNothingPastTheEnd) {
  PageBitmap bitmap(layout_of({65 * k_unit_bytes + 1, 0, 64 * k_unit_bytes}));
  bitmap.mark_all();
  EXPECT_EQ(bitmap.count(), 66u + 64u);
  EXPECT_TRUE(bitmap.all());
}

TEST(PageBitmap, MergesAsAUnion) {
  const Layout layout = layout_of({300 * k_unit_bytes, 5 * k_unit_bytes});
  PageBitmap one(layout);
  PageBitmap other(layout);
  one.mark(units(0, 100));
  other.mark(units(90, 100));
  other.mark(units(2, 1, 1));
  one.merge(other);
  EXPECT_EQ(runs_of(one, 0), std::vector{units(0, 190)});
  EXPECT_EQ(runs_of(one, 1), std::vector{units(2, 1, 1)});
  EXPECT_EQ(other.count(), 101u) << "the other one stays as it is";
}

TEST(PageBitmap, HoldsABigGuest) {
  constexpr std::uint64_t k_length = 64 * k_gib;
  PageBitmap bitmap(layout_of({k_length}));
  EXPECT_FALSE(bitmap.next_run(0, 0));
  bitmap.mark({0, 0, k_length});
  EXPECT_TRUE(bitmap.all());
  EXPECT_EQ(bitmap.next_run(0, 0), (PageRun{0, 0, k_length}));
  bitmap.clear({0, 0, k_length});
  bitmap.mark({0, k_length - k_unit_bytes, k_unit_bytes});
  EXPECT_EQ(bitmap.next_run(0, 0), (PageRun{0, k_length - k_unit_bytes, k_unit_bytes}));
}

/// Runs `work(number)` in that many threads, which begin together.
template <class Work>
void in_threads(unsigned count, Work work) {
  std::latch begin(count);
  std::vector<std::jthread> threads;
  for (unsigned number = 0; number < count; ++number) {
    threads.emplace_back([&begin, work, number] {
      begin.arrive_and_wait();
      work(number);
    });
  }
}

// Long enough for the threads to meet in a word many times, also on two cores.
constexpr std::uint64_t k_shared_units = 64 * 16384;

TEST(PageBitmap, LosesNoMarkOfThreadsThatShareWords) {
  constexpr unsigned k_threads = 4;
  PageBitmap bitmap(layout_of({k_shared_units * k_unit_bytes}));
  in_threads(k_threads, [&bitmap](unsigned mine) {
    for (std::uint64_t u = mine; u < k_shared_units; u += k_threads) bitmap.mark(units(u, 1));
  });
  EXPECT_EQ(bitmap.count(), k_shared_units);
}

TEST(PageBitmap, WholeWordsMayBeMarkedByManyAtOnce) {
  constexpr std::uint64_t k_half = k_shared_units / 2;
  PageBitmap bitmap(layout_of({k_shared_units * k_unit_bytes}));
  in_threads(4, [&bitmap](unsigned mine) {
    // Overlapping on purpose, and each ends inside a word of its neighbour's.
    bitmap.mark(units(mine, k_half + 10 * mine));
    EXPECT_TRUE(bitmap.test(0, mine * k_unit_bytes));
  });
  EXPECT_EQ(runs_of(bitmap, 0, k_shared_units * k_unit_bytes), std::vector{units(0, k_half + 33)});
}

TEST(PageBitmap, EachUnitIsNewToExactlyOneThread) {
  PageBitmap bitmap(layout_of({k_shared_units * k_unit_bytes}));
  std::atomic<std::uint64_t> first_marks = 0;
  in_threads(4, [&bitmap, &first_marks](unsigned) {
    std::uint64_t won = 0;
    for (std::uint64_t u = 0; u < k_shared_units; ++u) won += !bitmap.test_and_mark(units(u, 1));
    first_marks += won;
  });
  EXPECT_EQ(first_marks, k_shared_units);
}

}  // namespace
}  // namespace ferry
