#include "image/image_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/image/temp_folder.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string content_of(const MemoryRegion& region) {
  std::string content(region.length, '?');
  EXPECT_EQ(::pread(region.fd, content.data(), content.size(), 0),
            static_cast<::ssize_t>(content.size()));
  return content;
}

Error error_of(std::vector<fs::path> images) {
  auto opened = ImageSource::open(std::move(images));
  if (opened) {
    ADD_FAILURE() << "opened";
    return {};
  }
  EXPECT_EQ(opened.error().text().find('\n'), std::string::npos);
  return opened.error();
}

TEST(ImageSource, OpensFilesOfAnyLength) {
  const TempFolder folder;
  for (const std::size_t length : {0u, 1u, 4095u, 4096u, 4097u}) {
    const fs::path image = folder / ("image-" + std::to_string(length));
    write_file(image, std::string(length, 'x'));
    auto source = ImageSource::open({image});
    ASSERT_TRUE(source) << source.error().text();
    const auto regions = (*source)->memory().regions();
    ASSERT_EQ(regions.size(), 1u);
    EXPECT_EQ(regions[0].name, image.filename().native());
    EXPECT_EQ(regions[0].length, length);
    EXPECT_EQ(regions[0].host, nullptr);
    EXPECT_EQ(regions[0].backing, Backing::file);
    EXPECT_EQ(content_of(regions[0]), std::string(length, 'x'));
  }
}

TEST(ImageSource, NumbersSeveralImagesInTheirOrder) {
  const TempFolder folder;
  write_file(folder / "b.img", "second letter");
  write_file(folder / "a.img", "first");
  auto source = ImageSource::open({folder / "b.img", folder / "a.img"});
  ASSERT_TRUE(source) << source.error().text();
  const auto regions = (*source)->memory().regions();
  ASSERT_EQ(regions.size(), 2u);
  EXPECT_EQ(regions[0].name, "b.img");
  EXPECT_EQ(content_of(regions[0]), "second letter");
  EXPECT_EQ(regions[1].id, 1u);
  EXPECT_EQ(content_of(regions[1]), "first");
}

TEST(ImageSource, OpensForReadingOnly) {
  const TempFolder folder;
  write_file(folder / "a.img", "read me");
  auto source = ImageSource::open({folder / "a.img"});
  ASSERT_TRUE(source) << source.error().text();
  const int fd = (*source)->memory().regions()[0].fd;
  EXPECT_EQ(::fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_EQ(::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(ImageSource, OpensABlockDeviceAtItsFullLength) {
  for (const auto& entry : fs::directory_iterator("/sys/block")) {
    const fs::path device = "/dev" / entry.path().filename();
    const std::uint64_t sectors = std::stoull("0" + read_file(entry.path() / "size"));
    if (sectors == 0 || !UniqueFd(::open(device.c_str(), O_RDONLY | O_CLOEXEC))) continue;
    auto source = ImageSource::open({device});
    ASSERT_TRUE(source) << source.error().text();
    EXPECT_EQ((*source)->memory().total_bytes(), sectors * 512);
    return;
  }
  GTEST_SKIP() << "no block device that this user may read";
}

TEST(ImageSource, NothingIsEverDirty) {
  const TempFolder folder;
  write_file(folder / "a.img", std::string(8192, 'x'));
  auto source = ImageSource::open({folder / "a.img"});
  ASSERT_TRUE(source) << source.error().text();
  DirtyTracker& tracker = (*source)->dirty_tracker();
  ASSERT_TRUE(tracker.start());
  write_file(folder / "a.img", std::string(8192, 'y'));
  DirtyBitmap dirty((*source)->memory().layout());
  ASSERT_TRUE(tracker.harvest(dirty));
  EXPECT_TRUE(dirty.none());
  EXPECT_TRUE((*source)->pause());
  EXPECT_TRUE((*source)->resume());
}

TEST(ImageSource, FollowsALinkAndKeepsTheNameThatWasGiven) {
  const TempFolder folder;
  write_file(folder / "target.img", "linked");
  fs::create_symlink("target.img", folder / "link.img");
  auto source = ImageSource::open({folder / "link.img"});
  ASSERT_TRUE(source) << source.error().text();
  EXPECT_EQ((*source)->memory().regions()[0].name, "link.img");
  EXPECT_EQ(content_of((*source)->memory().regions()[0]), "linked");
}

TEST(ImageSource, AMissingFileIsNamed) {
  const TempFolder folder;
  const Error error = error_of({folder / "none.img"});
  EXPECT_EQ(error.code, Errc::system);
  EXPECT_EQ(error.sys, ENOENT);
  EXPECT_THAT(error.text(), HasSubstr("none.img': no such file or directory (is the path right?)"));
}

TEST(ImageSource, AFileThatOthersOwnIsNoPermission) {
  const TempFolder folder;
  write_file(folder / "secret.img", "secret");
  ASSERT_EQ(::chmod(folder.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod((folder / "secret.img").c_str(), 0), 0);
  const AsNobody nobody;
  const Error error = error_of({folder / "secret.img"});
  EXPECT_EQ(error.code, Errc::system);
  EXPECT_THAT(error.text(), HasSubstr("permission denied (may this user read it?)"));
}

TEST(ImageSource, AFolderIsNoImage) {
  const TempFolder folder;
  const Error error = error_of({folder.path()});
  EXPECT_EQ(error.code, Errc::system);
  EXPECT_THAT(error.text(), HasSubstr("is a directory (name the image files in it)"));
  EXPECT_THAT(error_of({folder.path() / ""}).text(), HasSubstr("is a directory"));
}

TEST(ImageSource, AFifoIsRefusedWithoutWaitingForItsWriter) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  const Error error = error_of({folder / "fifo"});
  EXPECT_EQ(error.code, Errc::system);
  EXPECT_THAT(error.text(), HasSubstr("fifo': not a regular file or block device"));
}

TEST(ImageSource, ACharacterDeviceIsNoImage) {
  EXPECT_EQ(error_of({"/dev/zero"}).text(),
            "open image '/dev/zero': not a regular file or block device");
}

TEST(ImageSource, WhatIsLongerThanTheWireCarriesIsRefused) {
  const TempFolder folder("/dev/shm");
  constexpr ::off_t k_limit = ::off_t{16} << 40;
  write_file(folder / "long.img", "");
  if (::truncate((folder / "long.img").c_str(), k_limit) != 0) GTEST_SKIP() << "no such long files";
  EXPECT_TRUE(ImageSource::open({folder / "long.img"}));
  write_file(folder / "byte.img", "x");
  EXPECT_EQ(error_of({folder / "long.img", folder / "byte.img"}).code, Errc::system);
  ASSERT_EQ(::truncate((folder / "long.img").c_str(), k_limit + 1), 0);
  const Error error = error_of({folder / "long.img"});
  EXPECT_EQ(error.code, Errc::system);
  EXPECT_THAT(error.text(), HasSubstr("longer than the 16 TiB"));
}

TEST(ImageSource, TwoImagesOfOneNameAreAUsageError) {
  const TempFolder folder;
  fs::create_directory(folder / "other");
  write_file(folder / "a.img", "one");
  write_file(folder / "other/a.img", "two");
  const Error error = error_of({folder / "a.img", folder / "other/a.img"});
  EXPECT_EQ(error.code, Errc::usage);
  EXPECT_THAT(error.text(), HasSubstr("'a.img'"));
}

TEST(ImageSource, NoImagesAndTooManyAreUsageErrors) {
  EXPECT_EQ(error_of({}).code, Errc::usage);
  std::vector<fs::path> many;
  for (int i = 0; i < 1025; ++i) many.push_back("image-" + std::to_string(i));
  EXPECT_EQ(error_of(many).code, Errc::usage);
}

TEST(ImageSource, AnErrorShowsNoControlCharacters) {
  EXPECT_THAT(error_of({"no\nsuch\x1b[2J"}).text(), HasSubstr("'no\\x0asuch\\x1b[2J'"));
}

}  // namespace
}  // namespace ferry
