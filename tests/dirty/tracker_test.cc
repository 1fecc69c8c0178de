// What every dirty tracker does, whoever writes.
#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <latch>
#include <memory>
#include <random>
#include <thread>

#include "tests/dirty/tracked_memory.h"

namespace ferry::test {
namespace {

/// A bitmap's runs: two are compared by them, so that a failure shows where they differ.
std::vector<PageRun> runs_of(const DirtyBitmap& bitmap) {
  std::vector<PageRun> runs;
  for (RegionId region = 0; region < bitmap.region_count(); ++region) {
    std::uint64_t from = 0;
    while (const auto run = bitmap.next_run(region, from)) {
      runs.push_back(*run);
      from = run->offset + run->length;
    }
  }
  return runs;
}

/// What a destination has of some memory: the first word of each unit.
class Copy {
 public:
  explicit Copy(const GuestMemory& memory) : memory_(memory) {
    for (const MemoryRegion& region : memory.regions())
      words_.emplace_back(units_in(region.length));
  }
  void take(const PageRun& run) {
    for (std::uint64_t i = 0; i < units_in(run.length); ++i) {
      const Unit unit{run.region, run.offset / k_unit_bytes + i};
      words_[unit.region][unit.index] = first_word(memory_, unit);
    }
  }
  void take(const DirtyBitmap& dirty) {
    for (const PageRun& run : runs_of(dirty)) take(run);
  }
  bool differs(Unit unit) const {
    return words_[unit.region][unit.index] != first_word(memory_, unit);
  }

 private:
  const GuestMemory& memory_;
  std::vector<std::vector<std::uint64_t>> words_;
};

/// Trackers that have not begun.
class MadeTrackers : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    auto made = GetParam().make();
    if (!made && made.error().code == Errc::unsupported) GTEST_SKIP() << made.error().text();
    ASSERT_TRUE(made) << made.error().text();
    tracked_ = std::move(*made);
  }
  void TearDown() override {
    if (tracked_) tracker().stop();
  }

  const GuestMemory& memory() { return tracked_->memory(); }
  DirtyTracker& tracker() { return tracked_->tracker(); }

  DirtyBitmap harvested() {
    DirtyBitmap dirty(memory().layout());
    const auto done = tracker().harvest(dirty);
    EXPECT_TRUE(done) << done.error().text();
    return dirty;
  }

  /// The truth, as a bitmap.
  DirtyBitmap marked(const std::vector<Unit>& units) {
    DirtyBitmap truth(memory().layout());
    for (const Unit unit : units) {
      const std::uint64_t offset = unit.index * k_unit_bytes;
      const std::uint64_t left = memory().regions()[unit.region].length - offset;
      truth.mark({unit.region, offset, std::min(left, k_unit_bytes)});
    }
    return truth;
  }

  std::vector<Unit> all_units() {
    std::vector<Unit> units;
    for (const MemoryRegion& region : memory().regions()) {
      for (std::uint64_t i = 0; i < units_in(region.length); ++i) units.push_back({region.id, i});
    }
    return units;
  }

  /// So many, not all of them different, in no order.
  std::vector<Unit> some_units(std::size_t count) {
    const std::vector<Unit> all = all_units();
    std::uniform_int_distribution<std::size_t> any(0, all.size() - 1);
    std::vector<Unit> units;
    for (; count > 0; --count) units.push_back(all[any(random_)]);
    return units;
  }

  /// Writes until it is let go of; it has begun when this returns. It alone may ask for
  /// some_units() meanwhile.
  std::jthread never_resting_writer() {
    auto begun = std::make_shared<std::latch>(1);
    std::jthread writer([this, begun](const std::stop_token& stop) {
      tracked_->write(some_units(300), ++value_);
      begun->count_down();
      while (!stop.stop_requested()) tracked_->write(some_units(300), ++value_);
    });
    begun->wait();
    return writer;
  }

  std::unique_ptr<TrackedMemory> tracked_;
  std::mt19937_64 random_{20260517};
  std::uint64_t value_ = 0;  // the writer's: no word is written twice the same
};

/// Trackers that watch all memory.
class DirtyTrackers : public MadeTrackers {
 protected:
  void SetUp() override {
    MadeTrackers::SetUp();
    if (!tracked_) return;
    ASSERT_TRUE(tracker().start());
  }
};

/// Trackers that watch nothing yet, and can begin with one part after another.
class GradualTrackers : public MadeTrackers {
 protected:
  void SetUp() override {
    MadeTrackers::SetUp();
    if (!tracked_) return;
    gradual_ = tracker().gradual();
    if (gradual_ == nullptr) GTEST_SKIP() << "it watches all memory or none";
    ASSERT_TRUE(gradual_->begin());
  }

  /// In pieces that begin and end anywhere, as extents do; each is given away when it is watched.
  void watch(
      RegionId region, std::uint64_t first, std::uint64_t end,
      const std::function<void(const PageRun&)>& watched = [](const PageRun&) {}) {
    constexpr std::uint64_t k_piece = 100;
    for (; first < end; first += k_piece) {
      const std::uint64_t count = std::min(end - first, k_piece);
      const PageRun piece{region, first * k_unit_bytes, count * k_unit_bytes};
      ASSERT_TRUE(gradual_->watch(piece));
      watched(piece);
    }
  }
  std::uint64_t units_of(RegionId region) { return units_in(memory().regions()[region].length); }
  void watch_everything() {
    for (const RegionId region : {0u, 1u}) watch(region, 0, units_of(region));
  }

  GradualTracking* gradual_ = nullptr;
};

TEST_P(DirtyTrackers, ReportNothingBeforeAnythingIsWritten) { EXPECT_TRUE(harvested().none()); }

TEST_P(DirtyTrackers, ReportEveryPageThatWasWrittenAndNoOther) {
  for (const std::size_t count : {1u, 2u, 60u, 700u, 3u}) {
    const std::vector<Unit> units = some_units(count);
    tracked_->write(units, count);
    EXPECT_EQ(runs_of(harvested()), runs_of(marked(units)));
  }
}

TEST_P(DirtyTrackers, ReportEachWriteOnce) {
  const std::vector<Unit> units = some_units(20);
  tracked_->write(units, 1);
  EXPECT_FALSE(harvested().none());
  EXPECT_TRUE(harvested().none());
}

TEST_P(DirtyTrackers, ReportAPageAgainThatIsWrittenAgain) {
  const std::vector<Unit> units = some_units(20);
  for (const std::uint64_t value : {1u, 2u, 3u}) {
    tracked_->write(units, value);
    EXPECT_EQ(runs_of(harvested()), runs_of(marked(units)));
  }
}

TEST_P(DirtyTrackers, ReportAllOfAGuestThatWritesEverywhere) {
  tracked_->write(all_units(), 7);
  EXPECT_TRUE(harvested().all());
}

TEST_P(DirtyTrackers, ReportTheLastPageOfARegion) {
  const auto& regions = memory().regions();
  const std::vector<Unit> last = {{0, units_in(regions[0].length) - 1},
                                  {1, units_in(regions[1].length) - 1}};
  tracked_->write(last, 1);
  EXPECT_EQ(runs_of(harvested()), runs_of(marked(last)));
}

TEST_P(DirtyTrackers, AddToWhatABitmapHoldsAlready) {
  const std::vector<Unit> before = {{0, 3}, {1, 5}};
  const std::vector<Unit> written = {{0, 64}, {1, 5}};
  DirtyBitmap dirty = marked(before);
  tracked_->write(written, 1);
  ASSERT_TRUE(tracker().harvest(dirty));
  EXPECT_EQ(runs_of(dirty), runs_of(marked({{0, 3}, {0, 64}, {1, 5}})));
}

TEST_P(DirtyTrackers, ForgetWhatWasWrittenBetweenAStopAndAStart) {
  tracked_->write({{0, 1}}, 1);
  tracker().stop();
  tracked_->write({{0, 2}}, 1);
  ASSERT_TRUE(tracker().start());
  EXPECT_TRUE(harvested().none());
  tracked_->write({{0, 3}}, 1);
  EXPECT_EQ(runs_of(harvested()), runs_of(marked({{0, 3}})));
}

TEST_P(DirtyTrackers, CanBeStoppedTwice) {
  tracker().stop();
  tracker().stop();
  ASSERT_TRUE(tracker().start());
}

/// A migration: pages that were reported are copied while the writer writes on. In the end the copy
/// and the memory must be the same.
TEST_P(DirtyTrackers, LoseNoPageOfAWriterThatNeverRests) {
  Copy copy(memory());
  {
    const std::jthread writer = never_resting_writer();
    std::uint64_t copied = 0;
    while (copied < 50'000) {
      const DirtyBitmap dirty = harvested();
      copy.take(dirty);
      copied += dirty.count();
    }
  }
  copy.take(harvested());
  EXPECT_EQ(std::ranges::count_if(all_units(), [&](Unit unit) { return copy.differs(unit); }), 0);
}

/// The same from its first round on, in which each piece is watched before it is copied. The rest
/// is short, so that few pages are written again that were lost.
TEST_P(GradualTrackers, LoseNoPageOfAWriterThatNeverRests) {
  for (int migration = 0; migration < 20; ++migration) {
    Copy copy(memory());
    {
      const std::jthread writer = never_resting_writer();
      for (const RegionId region : {0u, 1u}) {
        ASSERT_NO_FATAL_FAILURE(
            watch(region, 0, units_of(region), [&](const PageRun& piece) { copy.take(piece); }));
      }
      copy.take(harvested());
    }
    copy.take(harvested());
    ASSERT_EQ(std::ranges::count_if(all_units(), [&](Unit unit) { return copy.differs(unit); }), 0);
    tracker().stop();
    ASSERT_TRUE(gradual_->begin());
  }
}

TEST_P(GradualTrackers, ReportNothingThatWasWrittenBeforeItWasWatched) {
  tracked_->write(all_units(), 7);
  watch_everything();
  EXPECT_TRUE(harvested().none());
  const std::vector<Unit> units = some_units(200);
  tracked_->write(units, 8);
  EXPECT_EQ(runs_of(harvested()), runs_of(marked(units)));
}

TEST_P(GradualTrackers, ReportWhatIsWrittenWhileTheRestIsNotWatchedYet) {
  watch(0, 0, 150);
  const std::vector<Unit> units = {{0, 0}, {0, 63}, {0, 64}, {0, 99}, {0, 100}, {0, 149}};
  tracked_->write(units, 1);
  watch(0, 150, units_of(0));
  watch(1, 0, units_of(1));
  EXPECT_EQ(runs_of(harvested()), runs_of(marked(units)));
}

TEST_P(GradualTrackers, CountWhatTheyWereNeverToWatchAsWrittenOnce) {
  watch(0, 0, units_of(0));
  const DirtyBitmap dirty = harvested();
  for (const Unit unit : all_units()) {
    ASSERT_EQ(dirty.test(unit.region, unit.index * k_unit_bytes), unit.region == 1);
  }
  EXPECT_TRUE(harvested().none());
  const std::vector<Unit> units = some_units(200);
  tracked_->write(units, 1);
  EXPECT_EQ(runs_of(harvested()), runs_of(marked(units)));
}

TEST_P(GradualTrackers, BeginAnewAfterAStop) {
  watch_everything();
  tracked_->write({{0, 1}}, 1);
  tracker().stop();
  ASSERT_TRUE(gradual_->begin());
  tracked_->write({{0, 2}}, 1);
  watch_everything();
  tracked_->write({{0, 3}}, 1);
  EXPECT_EQ(runs_of(harvested()), runs_of(marked({{0, 3}})));
}

std::string name_of(const testing::TestParamInfo<Kind>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(OfThisProcess, DirtyTrackers, testing::ValuesIn(kinds_without_kvm()),
                         name_of);
INSTANTIATE_TEST_SUITE_P(OfKvm, DirtyTrackers, testing::ValuesIn(kinds_with_kvm()), name_of);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(DirtyTrackers);
INSTANTIATE_TEST_SUITE_P(OfKvm, GradualTrackers, testing::ValuesIn(kinds_with_kvm()), name_of);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GradualTrackers);

}  // namespace
}  // namespace ferry::test
