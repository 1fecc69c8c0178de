// What only a dirty ring has: it is short, and must be there before the vCPUs.
#include <gmock/gmock.h>

#include "tests/dirty/vcpu_memory.h"

namespace ferry::test {
namespace {

class KvmDirtyRings : public testing::Test {
 protected:
  void SetUp() override {
    auto made = VcpuMemory::make(VcpuMemory::Tracking::ring);
    if (!made && made.error().code == Errc::unsupported) GTEST_SKIP() << made.error().text();
    ASSERT_TRUE(made) << made.error().text();
    memory_ = std::move(*made);
  }
  std::unique_ptr<VcpuMemory> memory_;
};

TEST_F(KvmDirtyRings, ThatAreFullAreEmptiedByTheVcpuItself) {
  ASSERT_TRUE(memory_->tracker().start());
  std::vector<Unit> units;
  for (std::uint64_t index = 0; index < VcpuMemory::k_pages; ++index) units.push_back({1, index});
  memory_->write(units, 5);
  EXPECT_GT(memory_->full_rings(), 0u);
  DirtyBitmap dirty(memory_->memory().layout());
  ASSERT_TRUE(memory_->tracker().harvest(dirty));
  EXPECT_EQ(dirty.count(), VcpuMemory::k_pages);
  memory_->tracker().stop();
}

TEST_F(KvmDirtyRings, AreTooLateWhenThereIsAVcpu) {
  const auto late = KvmDirtyRing::create(memory_->vm(), memory_->memory(), memory_->slots());
  ASSERT_FALSE(late);
  EXPECT_THAT(late.error().text(), testing::HasSubstr("has the machine a vCPU already?"));
}

TEST_F(KvmDirtyRings, LeaveNoLogToRead) {
  const auto log = track_kvm_log(memory_->vm(), memory_->memory(), memory_->slots());
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Errc::unsupported) << log.error().text();
}

TEST_F(KvmDirtyRings, SeeAsMuchWhereSomebodyAskedForALog) {
  ASSERT_FALSE(track_kvm_log(memory_->vm(), memory_->memory(), memory_->slots()));
  memory_->write({{0, 7}}, 1);
  ASSERT_TRUE(memory_->tracker().start());
  memory_->write({{0, 7}}, 2);
  DirtyBitmap dirty(memory_->memory().layout());
  ASSERT_TRUE(memory_->tracker().harvest(dirty));
  EXPECT_EQ(dirty.count(), 1u);
  memory_->tracker().stop();
}

}  // namespace
}  // namespace ferry::test
