// What trackers say to whom asks for what cannot be.
#include <gmock/gmock.h>
#include <sys/mman.h>

#include <array>

#include "ferry/dirty_trackers.h"

namespace ferry {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t k_pages = 16;

/// A mapping of some pages, and one region of it.
class OwnMappings : public testing::Test {
 protected:
  void* map(void* at, int flags) {
    return ::mmap(at, k_pages * k_unit_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  }
  void SetUp() override {
    host_ = static_cast<std::byte*>(map(nullptr, 0));
    ASSERT_NE(host_, MAP_FAILED);
  }
  void TearDown() override { ::munmap(host_, k_pages * k_unit_bytes); }

  static GuestMemory region(std::byte* host, std::uint64_t length, int fd = -1) {
    return GuestMemory::create({{.name = "ram", .length = length, .host = host, .fd = fd}}).value();
  }

  std::byte* host_ = nullptr;
};

TEST_F(OwnMappings, AreRefusedWithoutAMapping) {
  const auto refused = track_own_mappings(region(nullptr, k_unit_bytes, 0));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::usage);
  EXPECT_THAT(refused.error().text(), HasSubstr("'ram': it is not mapped"));
}

TEST_F(OwnMappings, AreRefusedWhereARegionBeginsWithinAPage) {
  const auto refused = track_own_mappings(region(host_ + 8, k_unit_bytes));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::usage);
}

TEST_F(OwnMappings, ThatAreMappedAnewUnderTheTrackerAreAnError) {
  auto tracker = track_own_mappings(region(host_, k_pages * k_unit_bytes));
  if (!tracker && tracker.error().code == Errc::unsupported) {
    GTEST_SKIP() << tracker.error().text();
  }
  ASSERT_TRUE(tracker);
  ASSERT_TRUE((*tracker)->start());
  ASSERT_EQ(map(host_, MAP_FIXED), host_);
  DirtyBitmap dirty(region(host_, k_pages * k_unit_bytes).layout());
  const auto harvested = (*tracker)->harvest(dirty);
  ASSERT_FALSE(harvested);
  EXPECT_THAT(harvested.error().text(), HasSubstr("mapped anew"));
  (*tracker)->stop();
}

TEST_F(OwnMappings, HaveOneTrackerAtATime) {
  auto one = track_own_mappings(region(host_, k_pages * k_unit_bytes));
  if (!one && one.error().code == Errc::unsupported) GTEST_SKIP() << one.error().text();
  auto other = track_own_mappings(region(host_, k_pages * k_unit_bytes));
  ASSERT_TRUE(one && other);
  ASSERT_TRUE((*one)->start());
  EXPECT_FALSE((*other)->start());
  (*other)->stop();
  // And the first one is none the worse.
  *host_ = std::byte{1};
  DirtyBitmap dirty(region(host_, k_pages * k_unit_bytes).layout());
  ASSERT_TRUE((*one)->harvest(dirty));
  EXPECT_EQ(dirty.count(), 1u);
  (*one)->stop();
}

/// A tracker that cannot start, or one that tells whether it was stopped.
class Fake final : public DirtyTracker {
 public:
  explicit Fake(Result<void> start) : start_(std::move(start)) {}
  Result<void> start() override { return start_; }
  Result<void> harvest(DirtyBitmap&) override { return {}; }
  void stop() noexcept override { ++stops; }
  int stops = 0;

 private:
  Result<void> start_;
};

TEST(MergedTrackers, AreAllStoppedWhenOneCannotStart) {
  Fake well{{}};
  Fake ill{fail(Errc::guest, "no ring")};
  const auto started = merge_trackers({&well, &ill})->start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().context, "no ring");
  EXPECT_EQ(well.stops, 1);
}

/// Counts what it is to watch.
class GradualFake final : public DirtyTracker, private GradualTracking {
 public:
  Result<void> start() override { return fail(Errc::guest, "all at once"); }
  Result<void> harvest(DirtyBitmap&) override { return {}; }
  void stop() noexcept override {}
  GradualTracking* gradual() noexcept override { return this; }
  std::uint64_t bytes = 0;

 private:
  Result<void> begin() override { return {}; }
  Result<void> watch(const PageRun& run) override {
    bytes += run.length;
    return {};
  }
};

TEST(MergedTrackers, BeginGraduallyWhereOneOfThemCan) {
  GradualFake gradual;
  Fake other{{}};
  const auto merged = merge_trackers({&other, &gradual});
  ASSERT_NE(merged->gradual(), nullptr);
  ASSERT_TRUE(merged->gradual()->begin());
  ASSERT_TRUE(merged->gradual()->watch({0, 0, 3 * k_unit_bytes}));
  EXPECT_EQ(gradual.bytes, 3 * k_unit_bytes);
  EXPECT_EQ(merge_trackers({&other})->gradual(), nullptr);
}

TEST(MergedTrackers, ThatBeginGraduallyAreAllStoppedWhenOneCannotStart) {
  GradualFake gradual;
  Fake well{{}};
  Fake ill{fail(Errc::guest, "no ring")};
  const auto merged = merge_trackers({&gradual, &well, &ill});
  const auto begun = merged->gradual()->begin();
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().context, "no ring");
  EXPECT_EQ(well.stops, 1);
}

TEST(KvmSlots, OutsideOfMemoryAreRefused) {
  std::array<std::byte, 2 * k_unit_bytes> ram;
  const auto memory =
      GuestMemory::create({{.name = "ram", .length = ram.size(), .host = ram.data()}}).value();
  for (const PageRun& wrong : {PageRun{0, 0, 3 * k_unit_bytes}, PageRun{1, 0, k_unit_bytes},
                               PageRun{0, 100, k_unit_bytes}, PageRun{0, 0, 0}}) {
    const KvmSlot slot{.slot = 4, .memory = wrong};
    const auto refused = track_kvm_log(-1, memory, std::span(&slot, 1));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::usage) << refused.error().text();
    EXPECT_THAT(refused.error().text(), HasSubstr("KVM slot 4"));
  }
}

TEST(LengthsOfKvmDirtyRings, ArePowersOfTwo) {
  for (const std::uint32_t entries : {0u, 512u, 3000u, 131072u}) {
    const auto refused = KvmDirtyRing::create(-1, GuestMemory(), {}, entries);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::usage);
  }
}

}  // namespace
}  // namespace ferry
