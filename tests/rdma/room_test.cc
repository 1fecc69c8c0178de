#include "rdma/room.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <stop_token>

#include "ferry/memory.h"
#include "tests/channels/io.h"
#include "tests/rdma/rdma_ends.h"

namespace ferry::test {
namespace {

/// Address space that nobody has touched.
class Untouched {
 public:
  explicit Untouched(std::uint64_t bytes) : bytes_(bytes) {
    at_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT_NE(at_, MAP_FAILED);
    // Huge ones would come many at a time.
    ::madvise(at_, bytes, MADV_NOHUGEPAGE);
  }
  Untouched(const Untouched&) = delete;
  Untouched& operator=(const Untouched&) = delete;
  ~Untouched() { ::munmap(at_, bytes_); }

  std::byte* at(std::uint64_t offset) const { return static_cast<std::byte*>(at_) + offset; }
  GuestMemory memory(Backing backing = Backing::anonymous) const {
    MemoryRegion region;
    region.name = "ram";
    region.length = bytes_;
    region.host = at(0);
    region.backing = backing;
    return GuestMemory::create({region}).value();
  }

 private:
  const std::uint64_t bytes_;
  void* at_;
};

TEST(RoomToPin, IsNeededForWhatIsNotThereYet) {
  const Untouched ram(600 * k_mib + 5 * k_unit_bytes);
  EXPECT_EQ(bytes_to_come(ram.memory()), 600 * k_mib + 5 * k_unit_bytes);
  *ram.at(0) = std::byte{1};
  *ram.at(500 * k_mib) = std::byte{1};
  EXPECT_EQ(bytes_to_come(ram.memory()), 600 * k_mib + 3 * k_unit_bytes);
  EXPECT_EQ(bytes_to_come(ram.memory(Backing::file)), 0u);
  EXPECT_EQ(bytes_to_come(ram.memory(Backing::hugetlb)), 0u);
}

TEST(RoomToPin, ThatIsTooLittleIsSaidWithWhatThereIs) {
  EXPECT_TRUE(check_room(5 * k_mib, {.bytes = 5 * k_mib}, "pin"));
  EXPECT_TRUE(check_room(UINT64_MAX, {}, "pin"));
  const auto checked = check_room(5 * k_mib + 1, {.bytes = 5 * k_mib, .whose = "this machine"},
                                  "let node7 write to guest memory");
  EXPECT_EQ(code_of(checked), Errc::system);
  EXPECT_EQ(text_of(checked),
            "let node7 write to guest memory: 5.0 MiB of it are to be pinned and not there yet, "
            "and this machine has 5.0 MiB left (images need none over a transport that streams "
            "(tcp://, tls://))");
}

TEST(RoomToPin, OfThisMachineIsRead) {
  const MemoryLeft left = memory_left();
  EXPECT_GT(left.bytes, 0u);
  EXPECT_LT(left.bytes, UINT64_MAX);
}

TEST(RoomToPin, IsTakenUntilAStopIsRequested) {
  const Untouched ram(8 * k_mib);
  std::stop_source stop;
  EXPECT_TRUE(make_come(ram.memory(), stop.get_token(), "pin"));
  stop.request_stop();
  const Untouched more(8 * k_mib);
  EXPECT_EQ(code_of(make_come(more.memory(), stop.get_token(), "pin")), Errc::cancelled);
  EXPECT_EQ(bytes_to_come(more.memory()), 8 * k_mib);
}

/// Of a guest that is larger than the machine nothing is pinned at all.
TEST(RoomToPin, IsLookedForBeforeTheFirstPageIsPinned) {
  RdmaPair pair(Device::none);
  auto lane = pair.connect();
  ASSERT_TRUE(lane);
  const Untouched ram((memory_left().bytes / k_mib + 1024) * k_mib);
  const auto pinned = lane->target->facets().placed_target->pin(ram.memory(), {});
  EXPECT_EQ(code_of(pinned), Errc::system);
  EXPECT_TRUE(text_of(pinned).contains("not there yet")) << text_of(pinned);
  EXPECT_EQ(pair.fabric().bytes_for_peers(), 0u);
}

}  // namespace
}  // namespace ferry::test
