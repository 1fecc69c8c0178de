// Snapshots: images into a file, and out of it.
#include <fmt/format.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "tests/e2e/events.h"
#include "tests/e2e/own_disk.h"
#include "tests/e2e/scene.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class SnapshotEndToEnd : public EndToEnd {
 protected:
  static std::string uri_of(const fs::path& path) { return "file://" + path.native(); }
  static Process migrate_recv(Words arguments) {
    arguments.insert(arguments.begin(), MIGRATE_RECV);
    return Process(std::move(arguments));
  }
  static void expect_ok(Process process) { EXPECT_EQ(process.wait(), 0) << process.err(); }
  static void expect_complaint(Process process, int code, const std::string& words) {
    EXPECT_EQ(process.wait(), code) << process.err();
    EXPECT_THAT(process.err(), HasSubstr(words));
  }

  /// `images` into the snapshot and out of it again.
  void save_and_load(const Words& images, const fs::path& output, Words options = {}) {
    Words save = images;
    save.push_back(uri_of(snapshot()));
    save.insert(save.end(), options.begin(), options.end());
    expect_ok(migrate_send(save));
    Words load = {uri_of(snapshot()), "-o", output};
    load.insert(load.end(), options.begin(), options.end());
    expect_ok(migrate_recv(load));
  }
  fs::path snapshot() const { return disk_ / "snap.ferry"; }

  TempFolder disk_;  // a disk's file system, where there is one
};

TEST_F(SnapshotEndToEnd, AnImageComesBackIdentical) {
  const fs::path image = mixed_image(source_ / "a.img");
  save_and_load({image}, output_ / "out.img");
  expect_same(image, output_ / "out.img");
  EXPECT_EQ(fs::file_size(output_ / "out.img"), 64 * k_mib + 777);
  EXPECT_LE(allocated_bytes(snapshot()), 11 * k_mib + 512 * k_kib) << "zeros are holes";
  EXPECT_LE(allocated_bytes(output_ / "out.img"), 11 * k_mib + 512 * k_kib);
  EXPECT_THAT(disk_.names(), UnorderedElementsAre("snap.ferry"));
}

TEST_F(SnapshotEndToEnd, EveryLengthComesBackExactly) {
  for (const std::uint64_t length : {0, 1, 4095, 4096, 4097}) {
    const fs::path image = random_image("a-" + std::to_string(length), length);
    save_and_load({image}, output_ / "out.img", {"--force"});
    expect_same(image, output_ / "out.img");
    EXPECT_EQ(fs::file_size(output_ / "out.img"), length);
  }
}

TEST_F(SnapshotEndToEnd, SeveralImagesComeBackUnderTheirNames) {
  const fs::path a = random_image("a.img", 3 * k_mib + 1);
  const fs::path b = random_image("b.img", 5 * k_mib);
  fs::create_directory(output_ / "images");
  save_and_load({a, b}, output_ / "images/");
  expect_same(a, output_ / "images/a.img");
  expect_same(b, output_ / "images/b.img");
}

class SnapshotByEngine : public SnapshotEndToEnd,
                         public testing::WithParamInterface<const char*> {};

TEST_P(SnapshotByEngine, AnImageComesBackBufferedAndDirect) {
  const fs::path image = mixed_image(source_ / "a.img");
  save_and_load({image}, output_ / "a.img", {"--file-engine", GetParam(), "--buffered"});
  expect_same(image, output_ / "a.img");
  Process direct = migrate_send(
      {image, uri_of(disk_ / "b"), "--file-engine", GetParam(), "--direct", "--verify", "full"});
  if (direct.wait() == 2) GTEST_SKIP() << direct.err();
  EXPECT_THAT(direct.out(), HasSubstr("digest of all memory equal"));
  expect_ok(migrate_recv(
      {uri_of(disk_ / "b"), "-o", output_ / "b.img", "--file-engine", GetParam(), "--direct"}));
  expect_same(image, output_ / "b.img");
}

/// Each one's last page is read by itself, while what is before it is still on its way in.
TEST_P(SnapshotByEngine, ManyImagesOfOddLengthsComeBackIdentical) {
  Words images;
  for (std::uint64_t i = 0; i < 24; ++i) {
    images.push_back(random_image(fmt::format("{:02}.img", i),
                                  600 * k_kib + i * 7 % 24 * 91'234 + (i % 3 == 0 ? 0 : 1 + i)));
  }
  for (const char* const lanes : {"1", "2"}) {
    const std::string uri = uri_of(disk_ / lanes);
    Words save = images;
    for (const std::string& word : Words{uri, "--channels", lanes, "--file-engine", GetParam()}) {
      save.push_back(word);
    }
    expect_ok(migrate_send(save));
    expect_ok(migrate_recv({"--check", "--lanes", lanes, uri, "--file-engine", GetParam()}));
    const fs::path out = output_ / lanes;
    fs::create_directory(out);
    expect_ok(migrate_recv({uri, "-o", out / "", "--lanes", lanes, "--file-engine", GetParam()}));
    for (const fs::path image : images) expect_same(image, out / image.filename());
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, SnapshotByEngine, testing::Values("io_uring", "aio", "threads"),
                         [](const auto& test) { return std::string(test.param); });

TEST_F(SnapshotEndToEnd, SixtyFourGibibytesOfHolesAreQuick) {
  const fs::path image = source_ / "sparse.img";
  for (std::uint64_t i = 0; i < 16; ++i) write_random(image, i * 4 * k_gib + i * 4 * k_kib, k_mib);
  set_length(image, 64 * k_gib);
  save_and_load({image}, output_ / "out.img");
  expect_same(image, output_ / "out.img");
}

TEST_F(SnapshotEndToEnd, InspectSaysWhatIsInIt) {
  const fs::path a = random_image("a.img", 3 * k_mib + 1);
  const fs::path b = source_ / "holes.img";
  set_length(b, 8 * k_mib);
  expect_ok(migrate_send({a, b, uri_of(snapshot())}));
  Process words = migrate_recv({"--inspect", uri_of(snapshot())});
  EXPECT_EQ(words.wait(), 0) << words.err();
  EXPECT_THAT(words.out(), HasSubstr("region 'a.img': 3145729 bytes, 3145729 of them not zeros"));
  EXPECT_THAT(words.out(), HasSubstr("region 'holes.img': 8388608 bytes, 0 of them not zeros"));
  Process json = migrate_recv({"--inspect", uri_of(snapshot()), "--json"});
  EXPECT_EQ(json.wait(), 0) << json.err();
  const auto events = events_of(json.out());
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["event"], "snapshot");
  EXPECT_EQ(events[0]["regions"][1]["name"], "holes.img");
  EXPECT_EQ(events[0]["file_bytes"], fs::file_size(snapshot()));
}

TEST_F(SnapshotEndToEnd, ACheckFindsDamageAndALoadRefusesIt) {
  const fs::path image = random_image("a.img", 2 * k_mib);
  expect_ok(migrate_send({image, uri_of(snapshot())}));
  Process whole = migrate_recv({"--check", uri_of(snapshot())});
  EXPECT_EQ(whole.wait(), 0) << whole.err();
  EXPECT_THAT(whole.out(), HasSubstr("every byte is as it was written"));

  // The data is the end of it: two pages, 0x1ff000 and 0x1f0000.
  const auto length = static_cast<::off_t>(fs::file_size(snapshot()));
  {
    const UniqueFd file(::open(snapshot().c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::pwrite(file.get(), "damage", 6, length - 6), 6);
    ASSERT_EQ(::pwrite(file.get(), "damage", 6, length - 0x10000), 6);
  }
  Process check = migrate_recv({"--check", "--lanes", "3", uri_of(snapshot())});
  EXPECT_EQ(check.wait(), 5) << check.err();
  EXPECT_THAT(check.out(), HasSubstr("damaged: region 'a.img', offset 0x1f0000\n"
                                     "damaged: region 'a.img', offset 0x1ff000\n"));
  Process json = migrate_recv({"--check", "--json", uri_of(snapshot())});
  EXPECT_EQ(json.wait(), 5);
  EXPECT_EQ(events_of(json.out()).at(0)["damaged"], 2);
  expect_complaint(migrate_recv({uri_of(snapshot()), "-o", output_ / "out.img"}), 5,
                   "region 'a.img', offset 0x1f");
  EXPECT_THAT(output_.names(), IsEmpty());

  set_length(snapshot(), static_cast<std::uint64_t>(length) / 2);
  expect_complaint(migrate_recv({"--check", uri_of(snapshot())}), 5, "its end");
  expect_complaint(migrate_recv({"--inspect", uri_of(image)}), 5, "is it a snapshot of Ferry's?");
}

TEST_F(SnapshotEndToEnd, WhatIsNoRegularFileIsAUsageError) {
  const fs::path image = random_image("a.img", k_mib);
  ASSERT_EQ(::mkfifo((disk_ / "pipe").c_str(), 0600), 0);
  for (const std::string& where : {disk_.path().native() + "/", disk_.path().native(),
                                   (disk_ / "pipe").native(), std::string("/dev/null")}) {
    expect_complaint(migrate_send({image, "file://" + where, "--force"}), 2, "file '");
    expect_complaint(migrate_recv({"file://" + where, "-o", output_ / "out.img"}), 2, "file '");
  }
  expect_complaint(migrate_recv({"--inspect", "tcp://127.0.0.1:1"}), 2, "no file's address");
  expect_complaint(migrate_recv({"--inspect", "--check", uri_of(image)}), 2, "one of them");
  expect_complaint(migrate_send({image, uri_of(snapshot()), "--file-engine", "x"}), 2, "engine");
  expect_complaint(migrate_send({image, uri_of(snapshot()), "--direct", "--buffered"}), 2,
                   "one of");
}

TEST_F(SnapshotEndToEnd, WhatExistsIsKeptWithoutForce) {
  const fs::path image = random_image("a.img", k_mib);
  write_file(snapshot(), "older");
  expect_complaint(migrate_send({image, uri_of(snapshot())}), 8, "it exists already");
  EXPECT_EQ(read_file(snapshot()), "older");
  expect_complaint(migrate_recv({uri_of(disk_ / "none"), "-o", output_ / "out.img"}), 8,
                   "no such file");
}

TEST_F(SnapshotEndToEnd, AFullDiskLeavesNothing) {
  const fs::path image = random_image("a.img", 32 * k_mib);
  const SmallDisk small;
  if (!small) GTEST_SKIP() << "no right to mount a tmpfs here";
  for (const char* engine : {"io_uring", "aio", "threads"}) {
    expect_complaint(migrate_send({image, uri_of(small.path() / "snap"), "--file-engine", engine}),
                     8, "no space left on device (is the disk full?)");
    EXPECT_TRUE(fs::is_empty(small.path())) << engine;
  }
  expect_ok(migrate_send({image, uri_of(snapshot())}));
  expect_complaint(migrate_recv({uri_of(snapshot()), "-o", small.path() / "out.img"}), 8,
                   "no space left on device");
  EXPECT_TRUE(fs::is_empty(small.path()));
}

TEST_F(SnapshotEndToEnd, OnAFileSystemThatCanItSharesTheImagesStorage) {
  SharingDisk disk;
  if (!disk) GTEST_SKIP() << "no XFS, or no right to make a loop device and mount it here";
  const fs::path image = mixed_image(disk.path() / "a.img");
  fs::copy_file(image, source_ / "a.img");
  const auto free_bytes = [&] {
    EXPECT_TRUE(disk.run("sync -f disk"));
    return fs::space(disk.path()).free;
  };
  const std::uintmax_t before = free_bytes();
  const std::string uri = uri_of(disk.path() / "snap");
  for (const char* way : {"--direct", "--buffered"}) {
    expect_ok(migrate_send({image, uri, "--force", "--verify", "full", way}));
    EXPECT_LT(before - free_bytes(), 4 * k_mib) << "its pages take no room of their own";
    expect_ok(migrate_recv({"--check", uri}));
  }
  set_length(image, 0);
  expect_ok(migrate_recv({uri, "-o", output_ / "out.img"}));
  expect_same(source_ / "a.img", output_ / "out.img");
}

TEST_P(SnapshotByEngine, AFullDiskLeavesNothingOfALoad) {
  const fs::path image = random_image("a.img", 40 * k_mib + 5);
  expect_ok(migrate_send({image, uri_of(snapshot())}));
  const SmallExt4 disk;
  if (!disk) GTEST_SKIP() << "no right to make a loop device and mount it here";
  for (const char* way : {"--direct", "--buffered"}) {
    expect_complaint(migrate_recv({uri_of(snapshot()), "-o", disk.path() / "out.img",
                                   "--file-engine", GetParam(), way}),
                     8, "write '" + (disk.path() / "out.img").native() + "'");
    EXPECT_TRUE(fs::is_empty(disk.path())) << way;
  }
}

TEST_F(SnapshotEndToEnd, AnErrorOfTheDiskInTheMiddleLeavesNothing) {
  const fs::path image = random_image("a.img", 40 * k_mib);
  for (const Words& way :
       {Words{"--buffered"}, Words{"--direct"}, Words{"--direct", "--file-engine", "aio"}}) {
    FailingDisk disk;
    if (!disk) GTEST_SKIP() << "no right to make a loop device and mount it here";
    Words command = {image, uri_of(disk.path() / "snap")};
    command.insert(command.end(), way.begin(), way.end());
    expect_complaint(migrate_send(command), 8, "write '");
    EXPECT_TRUE(fs::is_empty(disk.path()));
  }
  expect_ok(migrate_send({image, uri_of(snapshot())}));
  FailingDisk disk;
  ASSERT_TRUE(disk);
  expect_complaint(migrate_recv({uri_of(snapshot()), "-o", disk.path() / "out.img"}), 8,
                   "write '" + (disk.path() / "out.img").native() + "'");
  EXPECT_TRUE(fs::is_empty(disk.path()));
}

TEST_F(SnapshotEndToEnd, APageThatCannotBeReadStopsALoad) {
  const fs::path image = random_image("a.img", 8 * k_mib);
  FailingDisk disk;
  if (!disk) GTEST_SKIP() << "no right to make a loop device and mount it here";
  expect_ok(migrate_send({image, uri_of(disk.path() / "snap")}));
  disk.lose();
  for (const Words& way : {Words{}, Words{"--direct"}}) {
    Words load = {uri_of(disk.path() / "snap"), "-o", output_ / "out.img"};
    load.insert(load.end(), way.begin(), way.end());
    expect_complaint(migrate_recv(load), 8, "input/output error");
  }
  EXPECT_THAT(output_.names(), IsEmpty());
}

}  // namespace
}  // namespace ferry
