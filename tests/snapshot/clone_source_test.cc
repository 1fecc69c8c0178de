// A snapshot that shares what an image has already.
#include "snapshot/clone_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>

#include "ferry/ferry.h"
#include "image/image_source.h"
#include "snapshot/snapshot_check.h"
#include "tests/image/temp_folder.h"
#include "tests/snapshot/saved.h"

namespace ferry::test {
namespace {

constexpr std::uint64_t k_length = 512 * k_unit_bytes + 77;

class ASnapshotOfAnImage : public testing::Test {
 protected:
  ASnapshotOfAnImage() : runtime_(std::move(*make_runtime())) {
    // Long runs of data, and short ones.
    std::string bytes(k_length, '\0');
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      const std::size_t unit = at / k_unit_bytes;
      const bool zeros = unit < 128 ? unit % 2 == 0 : unit == 300;
      if (!zeros) bytes[at] = static_cast<char>(1 + unit % 200);
    }
    write_file(path_, bytes);
    if (!ReadLease::take(UniqueFd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)).get())) return;
    leases_ = true;
  }

  void save_image() {
    const auto image = ImageSource::open({path_});
    ASSERT_TRUE(image);
    save(*runtime_, (*image)->memory(), places_);
  }
  void expect_whole() {
    MemoryPlace place(std::shared_ptr<MemoryFile>(&places_.file(), [](MemoryFile*) {}));
    const auto reader = SnapshotReader::borrow(place, "/a");
    ASSERT_TRUE(reader) << reader.error().text();
    EXPECT_EQ(check_snapshot(**reader, 1, {}, {})->damaged, 0u);
  }

  TempFolder folder_;
  const std::filesystem::path path_ = folder_ / "a.img";
  std::unique_ptr<Runtime> runtime_;
  MemoryPlaces places_;
  bool leases_ = false;
};

TEST_F(ASnapshotOfAnImage, SharesLongRunsWithIt) {
  if (!leases_) GTEST_SKIP() << "no leases here";
  places_.file().on_clone = [](Stretch) { return true; };
  save_image();
  EXPECT_EQ(places_.file().cloned_bytes, (512 - 128 - 1) * k_unit_bytes) << "no partial unit";
  expect_whole();
}

TEST_F(ASnapshotOfAnImage, IsWrittenWhereNothingCanBeShared) {
  std::atomic<unsigned> asked = 0;
  places_.file().on_clone = [&](Stretch) {
    ++asked;
    return false;
  };
  save_image();
  EXPECT_LE(asked, 2u) << "once a lane at most";
  expect_whole();
}

TEST_F(ASnapshotOfAnImage, RemembersThatItCannotShare) {
  if (!leases_) GTEST_SKIP() << "no leases here";
  const auto image = ImageSource::open({path_});
  ASSERT_TRUE(image);
  const auto writer =
      SnapshotWriter::create(places_, Uri::parse("file:///a").value(), (*image)->memory().layout());
  ASSERT_TRUE(writer);
  CloneSource clones(**writer, (*image)->memory());
  const PageRun run{0, 128 * k_unit_bytes, 32 * k_unit_bytes};
  EXPECT_FALSE(clones.share(run));
  EXPECT_TRUE(UniqueFd(::open(path_.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)))
      << "the lease was given back";
  // Who asked the kernel again would now hear that the image is at rest.
  ASSERT_EQ(::fcntl(places_.file().clone_fd, F_SETLEASE, F_RDLCK), 0);
  places_.file().on_clone = [](Stretch) { return true; };
  EXPECT_FALSE(clones.share(run));
  EXPECT_EQ(places_.file().cloned_bytes, 0u);
}

TEST_F(ASnapshotOfAnImage, IsWrittenFromWhereSomebodyWantsToWriteToIt) {
  if (!leases_) GTEST_SKIP() << "no leases here";
  places_.file().on_clone = [&](Stretch) {
    const UniqueFd writer(::open(path_.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    EXPECT_FALSE(writer) << "it waits for the lease";
    return true;
  };
  save_image();
  expect_whole();
  EXPECT_LE(places_.file().cloned_bytes, 2 * PlacedIo::k_staging_bytes) << "once a lane at most";
  EXPECT_TRUE(UniqueFd(::open(path_.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)));
}

TEST_F(ASnapshotOfAnImage, IsWrittenWhereSomebodyHasItOpenForWriting) {
  const UniqueFd writer(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
  places_.file().on_clone = [](Stretch) { return true; };
  save_image();
  EXPECT_EQ(places_.file().cloned_bytes, 0u);
  expect_whole();
}

}  // namespace
}  // namespace ferry::test
