#include "image/image_destination.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "tests/image/temp_folder.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

Layout layout_of(std::vector<std::pair<std::string, std::uint64_t>> images) {
  Layout layout;
  for (auto& [name, length] : images) {
    layout.regions.push_back({.name = std::move(name), .length = length});
  }
  return layout;
}

std::unique_ptr<ImageDestination> destination(const fs::path& path,
                                              Existing existing = Existing::keep) {
  auto made = ImageDestination::create({.path = path, .existing = existing});
  EXPECT_TRUE(made) << made.error().text();
  return made ? *std::move(made) : nullptr;
}

Error create_error(const fs::path& path, Existing existing = Existing::keep) {
  auto made = ImageDestination::create({.path = path, .existing = existing});
  if (made) {
    ADD_FAILURE() << "created for " << path;
    return {};
  }
  return made.error();
}

Error map_error(ImageDestination& images, const Layout& layout) {
  const auto memory = images.map_memory(layout);
  if (memory) {
    ADD_FAILURE() << "mapped";
    return {};
  }
  EXPECT_EQ(memory.error().text().find('\n'), std::string::npos);
  return memory.error();
}

void write_region(const MemoryRegion& region, std::string_view content) {
  EXPECT_EQ(::pwrite(region.fd, content.data(), content.size(), 0),
            static_cast<::ssize_t>(content.size()));
}

class ImageDestinationTest : public testing::Test {
 protected:
  TempFolder folder_;
};

TEST_F(ImageDestinationTest, AFileHasTheSendersLengthAndTheReceiversName) {
  auto images = destination(folder_ / "out.img");
  auto memory = images->map_memory(layout_of({{"sender.img", 4097}}));
  ASSERT_TRUE(memory) << memory.error().text();
  ASSERT_EQ(memory->regions().size(), 1u);
  const MemoryRegion& region = memory->regions()[0];
  EXPECT_EQ(region.host, nullptr);
  EXPECT_EQ(region.backing, Backing::file);
  EXPECT_EQ(region.length, 4097u);
  write_region(region, "begins");
  EXPECT_THAT(folder_.names(), IsEmpty());
  ASSERT_TRUE(images->prepare());
  EXPECT_THAT(folder_.names(), IsEmpty());
  ASSERT_TRUE(images->start({}));
  EXPECT_THAT(folder_.names(), UnorderedElementsAre("out.img"));
  EXPECT_EQ(read_file(folder_ / "out.img"), "begins" + std::string(4091, '\0'));
}

TEST_F(ImageDestinationTest, WhatIsPlacedInMemoryIsWrittenDownAndHolesStayHoles) {
  auto images = destination(folder_.path());
  constexpr std::uint64_t k_length = (16 << 20) + 5;
  auto memory = images->map_placed_memory(layout_of({{"a.img", k_length}, {"b.img", 3}, {"c", 0}}));
  ASSERT_TRUE(memory) << memory.error().text();
  const MemoryRegion& region = memory->regions()[0];
  ASSERT_NE(region.host, nullptr);
  EXPECT_EQ(region.fd, -1) << "the file is not there yet, and says nothing of the memory";
  std::string content(k_length, '\0');
  // A unit, one at the end of a window of 1 MiB and one behind it, and the tail.
  for (const std::uint64_t at : {4096ul, (3ul << 20) - 1, 3ul << 20, k_length - 1}) {
    content[at] = 'x';
    region.host[at] = std::byte{'x'};
  }
  std::memcpy(memory->regions()[1].host, "bee", 3);
  ASSERT_TRUE(images->prepare());
  EXPECT_THAT(folder_.names(), IsEmpty());
  ASSERT_TRUE(images->start({}));
  EXPECT_TRUE(read_file(folder_ / "a.img") == content);
  EXPECT_EQ(read_file(folder_ / "b.img"), "bee");
  EXPECT_EQ(read_file(folder_ / "c"), "");
  struct stat status {};
  ASSERT_EQ(::stat((folder_ / "a.img").c_str(), &status), 0);
  EXPECT_LE(status.st_blocks * 512, 1 << 20) << "four units have storage, or a block around each";
}

TEST_F(ImageDestinationTest, WhatIsPlacedIsNotWrittenDownOnceItIsToStop) {
  std::stop_source stop;
  auto images = ImageDestination::create({.path = folder_.path(), .stop = stop.get_token()});
  ASSERT_TRUE(images);
  ASSERT_TRUE((*images)->map_placed_memory(layout_of({{"a.img", 8 << 20}})));
  stop.request_stop();
  const auto prepared = (*images)->prepare();
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, Errc::cancelled);
  images->reset();
  EXPECT_THAT(folder_.names(), IsEmpty());
}

TEST_F(ImageDestinationTest, MoreThanTheMachineHasIsToldBeforeAnythingIsPlaced) {
  auto images = destination(folder_ / "out.img");
  const auto memory = images->map_placed_memory(layout_of({{"huge", std::uint64_t{8} << 40}}));
  if (memory) GTEST_SKIP() << "this machine gives out more memory than it has";
  EXPECT_EQ(memory.error().code, Errc::system);
  EXPECT_THAT(memory.error().text(), HasSubstr("for the pages of image 'huge'"));
  EXPECT_THAT(folder_.names(), IsEmpty());
}

TEST_F(ImageDestinationTest, AFolderTakesImagesUnderTheirOwnNames) {
  auto images = destination(folder_.path());
  auto memory = images->map_memory(layout_of({{"b.img", 3}, {"a.img", 5}, {"empty", 0}}));
  ASSERT_TRUE(memory) << memory.error().text();
  write_region(memory->regions()[0], "bee");
  write_region(memory->regions()[1], "apple");
  ASSERT_TRUE(images->prepare());
  EXPECT_THAT(folder_.names(), IsEmpty());
  ASSERT_TRUE(images->start({}));
  EXPECT_THAT(folder_.names(), UnorderedElementsAre("a.img", "b.img", "empty"));
  EXPECT_EQ(read_file(folder_ / "b.img"), "bee");
  EXPECT_EQ(read_file(folder_ / "a.img"), "apple");
  EXPECT_EQ(read_file(folder_ / "empty"), "");
}

TEST_F(ImageDestinationTest, DroppedBeforeTheStartItLeavesNothing) {
  auto images = destination(folder_.path());
  ASSERT_TRUE(images->map_memory(layout_of({{"a.img", 8192}, {"b.img", 8192}})));
  ASSERT_TRUE(images->prepare());
  images.reset();
  EXPECT_THAT(folder_.names(), IsEmpty());
}

TEST_F(ImageDestinationTest, AMissingFolderIsToldBeforeAnybodySends) {
  const Error with_slash = create_error(folder_ / "missing/");
  EXPECT_EQ(with_slash.code, Errc::system);
  EXPECT_EQ(with_slash.text(),
            "output folder '" + (folder_ / "missing/").native() + "' is missing (mkdir it first)");
  const Error of_file = create_error(folder_ / "missing/out.img");
  EXPECT_EQ(of_file.code, Errc::system);
  EXPECT_THAT(of_file.text(), HasSubstr("missing' is missing (mkdir it first)"));
  write_file(folder_ / "file", "no folder");
  EXPECT_EQ(create_error(folder_ / "file/").code, Errc::system);
  EXPECT_EQ(create_error("").code, Errc::system);
}

TEST_F(ImageDestinationTest, AFolderThatMayNotBeWrittenIsToldBeforeAnybodySends) {
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0555), 0);
  const AsNobody nobody;
  const Error error = create_error(folder_ / "out.img");
  EXPECT_EQ(error.code, Errc::system);
  EXPECT_THAT(error.text(), HasSubstr("permission denied (may this user write there?)"));
}

TEST_F(ImageDestinationTest, AnExistingFileIsKeptUnlessItMayBeReplaced) {
  write_file(folder_ / "out.img", "older");
  const Error error = create_error(folder_ / "out.img");
  EXPECT_EQ(error.code, Errc::system);
  EXPECT_THAT(error.text(), HasSubstr("it exists already (give --force to replace it)"));

  auto images = destination(folder_ / "out.img", Existing::replace);
  auto memory = images->map_memory(layout_of({{"x", 5}}));
  ASSERT_TRUE(memory) << memory.error().text();
  write_region(memory->regions()[0], "newer");
  ASSERT_TRUE(images->prepare());
  EXPECT_EQ(read_file(folder_ / "out.img"), "older");
  ASSERT_TRUE(images->start({}));
  EXPECT_EQ(read_file(folder_ / "out.img"), "newer");
  EXPECT_THAT(folder_.names(), UnorderedElementsAre("out.img"));
}

TEST_F(ImageDestinationTest, ADanglingLinkCountsAsExisting) {
  fs::create_symlink("nowhere", folder_ / "out.img");
  EXPECT_EQ(create_error(folder_ / "out.img").code, Errc::system);
}

TEST_F(ImageDestinationTest, WhatIsNoRegularFileIsNeverReplaced) {
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  EXPECT_THAT(create_error(folder_ / "fifo", Existing::replace).text(),
              HasSubstr("no regular file"));
}

TEST_F(ImageDestinationTest, AnExistingFileInAFolderIsKeptUnlessItMayBeReplaced) {
  write_file(folder_ / "b.img", "older");
  auto keeping = destination(folder_.path());
  const Error error = map_error(*keeping, layout_of({{"a.img", 5}, {"b.img", 5}}));
  EXPECT_EQ(error.code, Errc::system);
  EXPECT_THAT(error.text(), HasSubstr("b.img': it exists already (give --force to replace it)"));

  auto replacing = destination(folder_.path(), Existing::replace);
  auto memory = replacing->map_memory(layout_of({{"a.img", 5}, {"b.img", 5}}));
  ASSERT_TRUE(memory) << memory.error().text();
  write_region(memory->regions()[1], "newer");
  ASSERT_TRUE(replacing->prepare());
  ASSERT_TRUE(replacing->start({}));
  EXPECT_EQ(read_file(folder_ / "b.img"), "newer");
  EXPECT_THAT(folder_.names(), UnorderedElementsAre("a.img", "b.img"));
}

TEST_F(ImageDestinationTest, AFileThatAppearsMeanwhileIsNoticedBeforeTheCommit) {
  auto images = destination(folder_ / "out.img");
  ASSERT_TRUE(images->map_memory(layout_of({{"x", 5}})));
  write_file(folder_ / "out.img", "somebody else's");
  EXPECT_FALSE(images->prepare());
  EXPECT_EQ(read_file(folder_ / "out.img"), "somebody else's");
}

TEST_F(ImageDestinationTest, AFileThatAppearsAtTheLastMomentIsKeptToo) {
  auto images = destination(folder_ / "out.img");
  ASSERT_TRUE(images->map_memory(layout_of({{"x", 5}})));
  ASSERT_TRUE(images->prepare());
  write_file(folder_ / "out.img", "somebody else's");
  const Result<void> started = images->start({});
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().sys, EEXIST);
  EXPECT_EQ(read_file(folder_ / "out.img"), "somebody else's");
}

TEST_F(ImageDestinationTest, SeveralImagesAppearTogetherOrNotAtAll) {
  auto images = destination(folder_.path());
  ASSERT_TRUE(images->map_memory(layout_of({{"a.img", 5}, {"b.img", 5}, {"c.img", 5}})));
  ASSERT_TRUE(images->prepare());
  write_file(folder_ / "b.img", "somebody else's");
  EXPECT_FALSE(images->start({}));
  images.reset();
  EXPECT_THAT(folder_.names(), UnorderedElementsAre("b.img"));
  EXPECT_EQ(read_file(folder_ / "b.img"), "somebody else's");
}

TEST_F(ImageDestinationTest, SeveralThatReplaceOthersDoSoTogetherOrNotAtAll) {
  for (const char* name : {"a.img", "c.img"}) write_file(folder_ / name, "older");
  auto images = destination(folder_.path(), Existing::replace);
  auto memory = images->map_memory(layout_of({{"a.img", 5}, {"b.img", 5}, {"c.img", 5}}));
  ASSERT_TRUE(memory);
  for (const MemoryRegion& region : memory->regions()) write_region(region, "newer");
  ASSERT_TRUE(images->prepare());
  fs::remove(folder_ / "c.img");
  fs::create_directory(folder_ / "c.img");
  EXPECT_FALSE(images->start({}));
  images.reset();
  EXPECT_THAT(folder_.names(), UnorderedElementsAre("a.img", "c.img"));
  EXPECT_EQ(read_file(folder_ / "a.img"), "older");
}

TEST_F(ImageDestinationTest, OneFileTakesExactlyOneImage) {
  auto images = destination(folder_ / "out.img");
  const Error two = map_error(*images, layout_of({{"a.img", 1}, {"b.img", 1}}));
  EXPECT_EQ(two.code, Errc::refused);
  EXPECT_THAT(two.text(), HasSubstr("receive 2 images into the one file"));
  EXPECT_EQ(map_error(*images, layout_of({})).code, Errc::refused);
}

TEST_F(ImageDestinationTest, HostileNamesAreRefusedAndQuotedEscaped) {
  auto images = destination(folder_.path());
  const std::vector<std::string> hostile = {"",
                                            ".",
                                            "..",
                                            "/etc/passwd",
                                            "../escape",
                                            "a/b",
                                            "a\nb",
                                            "\x1b[2Jgone",
                                            "bell\x07",
                                            "del\x7f",
                                            std::string("nul\0byte", 8)};
  for (const std::string& name : hostile) {
    const Error error = map_error(*images, layout_of({{"good.img", 1}, {name, 1}}));
    EXPECT_EQ(error.code, Errc::refused) << error.text();
    for (const char letter : error.text()) EXPECT_GE(static_cast<unsigned char>(letter), 0x20);
  }
  EXPECT_THAT(map_error(*images, layout_of({{"a\nb", 1}})).text(), HasSubstr("'a\\x0ab'"));
  EXPECT_THAT(folder_.names(), IsEmpty());
}

TEST_F(ImageDestinationTest, ANameThatComesTwiceIsRefused) {
  auto images = destination(folder_.path());
  EXPECT_EQ(map_error(*images, layout_of({{"a.img", 1}, {"a.img", 1}})).code, Errc::refused);
}

TEST_F(ImageDestinationTest, NamesThatAreOnlyUnusualAreTaken) {
  auto images = destination(folder_.path());
  ASSERT_TRUE(
      images->map_memory(layout_of({{".hidden", 1}, {"a b", 1}, {"\xff\xfe", 1}, {"…", 1}})));
  ASSERT_TRUE(images->prepare());
  ASSERT_TRUE(images->start({}));
  EXPECT_THAT(folder_.names(), UnorderedElementsAre(".hidden", "a b", "\xff\xfe", "…"));
}

}  // namespace
}  // namespace ferry
