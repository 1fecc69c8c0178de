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
  if (!log) {
    EXPECT_EQ(log.error().code, Errc::unsupported);
    return;
  }
  // Kernels that take both refuse to be asked.
  ASSERT_TRUE((*log)->start());
  DirtyBitmap dirty(memory_->memory().layout());
  EXPECT_FALSE((*log)->harvest(dirty));
  (*log)->stop();
}

}  // namespace
}  // namespace ferry::test
