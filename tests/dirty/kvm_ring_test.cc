// What only a dirty ring has: it is short, must be there before the vCPUs, and bears no log beside
// it.
#include <gmock/gmock.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <array>

#include "dirty/kvm_slots.h"
#include "tests/dirty/vcpu_memory.h"

namespace ferry::test {
namespace {

class MachinesWithAVcpu : public testing::Test {
 protected:
  void make(VcpuMemory::Tracking tracking) {
    auto made = VcpuMemory::make(tracking);
    if (!made && made.error().code == Errc::unsupported) GTEST_SKIP() << made.error().text();
    ASSERT_TRUE(made) << made.error().text();
    memory_ = std::move(*made);
  }
  /// One page is written before the tracker starts, and again behind that.
  void expect_to_see_a_write() {
    memory_->write({{0, 7}}, 1);
    ASSERT_TRUE(memory_->tracker().start());
    memory_->write({{0, 7}}, 2);
    DirtyBitmap dirty(memory_->memory().layout());
    ASSERT_TRUE(memory_->tracker().harvest(dirty));
    EXPECT_EQ(dirty.count(), 1u);
    memory_->tracker().stop();
  }
  std::unique_ptr<VcpuMemory> memory_;
};

class KvmDirtyRings : public MachinesWithAVcpu {
 protected:
  void SetUp() override { make(VcpuMemory::Tracking::ring); }
};

class KvmDirtyRingsBehindALog : public MachinesWithAVcpu {
 protected:
  void SetUp() override { make(VcpuMemory::Tracking::ring_after_log); }
};

class LogsOfAVmm : public MachinesWithAVcpu {
 protected:
  void SetUp() override { make(VcpuMemory::Tracking::own_mappings); }
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
  for (const std::span<const KvmSlot> slots : {memory_->slots(), std::span<const KvmSlot>()}) {
    const auto log = track_kvm_log(memory_->vm(), memory_->memory(), slots);
    ASSERT_FALSE(log) << slots.size() << " slots";
    EXPECT_EQ(log.error().code, Errc::unsupported) << log.error().text();
  }
}

TEST_F(KvmDirtyRings, SeeAsMuchWhereSomebodyAskedForALog) {
  ASSERT_FALSE(track_kvm_log(memory_->vm(), memory_->memory(), memory_->slots()));
  ASSERT_FALSE(track_kvm_log(memory_->vm(), memory_->memory(), {}));
  expect_to_see_a_write();
}

TEST_F(KvmDirtyRings, SeeAsMuchWhereTheVmmWantsPagesToBeginUnprotected) {
  kvm_enable_cap unprotected{};
  unprotected.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2;
  unprotected.args[0] = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
  ASSERT_EQ(::ioctl(memory_->vm(), KVM_ENABLE_CAP, &unprotected), 0);
  expect_to_see_a_write();
}

TEST_F(KvmDirtyRingsBehindALog, SeeAsMuch) { expect_to_see_a_write(); }

TEST_F(LogsOfAVmm, KeepWhatTheyHoldWhenATrackerIsMade) {
  const KvmSlot& slot = memory_->slots()[0];
  const auto mapped = map_slots(memory_->memory(), {&slot, 1});
  ASSERT_TRUE(mapped);
  ASSERT_TRUE(set_logging(memory_->vm(), *mapped, Logging::on));
  memory_->write({{0, 7}}, 1);
  ASSERT_TRUE(track_kvm_log(memory_->vm(), memory_->memory(), memory_->slots()));
  std::array<std::uint64_t, VcpuMemory::k_pages / 64 + 1> words{};
  kvm_dirty_log log{};
  log.slot = slot.slot;
  log.dirty_bitmap = words.data();
  ASSERT_EQ(::ioctl(memory_->vm(), KVM_GET_DIRTY_LOG, &log), 0);
  EXPECT_EQ(words[0], std::uint64_t{1} << 7);
}

}  // namespace
}  // namespace ferry::test
