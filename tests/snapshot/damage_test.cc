// A snapshot that is not what was written: each damaged byte is found.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>

#include "ferry/ferry.h"
#include "snapshot/snapshot_check.h"
#include "tests/image/temp_folder.h"
#include "tests/sanitizer.h"
#include "tests/snapshot/saved.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;

class SnapshotDamage : public testing::Test {
 protected:
  SnapshotDamage() {
    auto runtime = Runtime::create();
    EXPECT_TRUE(runtime);
    runtime_ = std::move(*runtime);
    save(*runtime_, source_.memory(), places_,
         {{"cpu", std::vector<std::byte>(5000, std::byte{7})},
          {"empty", {}},
          {"serial", std::vector<std::byte>(4096, std::byte{8})}});
  }

  /// How it is found: an error of opening, or what a check lists first. Empty: it is not.
  std::string found() {
    MemoryPlace place(std::shared_ptr<MemoryFile>(&places_.file(), [](MemoryFile*) {}));
    const auto reader = SnapshotReader::borrow(place, "/a");
    if (!reader) {
      EXPECT_EQ(reader.error().code, Errc::integrity) << reader.error().text();
      return reader.error().text();
    }
    const auto check = check_snapshot(**reader, 1, {}, {});
    EXPECT_TRUE(check) << check.error().text();
    if (!check || check->damaged == 0) return {};
    return check->damages.front().what;
  }
  std::string found_after_damage_at(std::size_t at, std::byte flip = std::byte{1}) {
    std::byte& byte = places_.file().bytes[at];
    byte ^= flip;
    std::string what = found();
    byte ^= flip;
    return what;
  }

  std::unique_ptr<Runtime> runtime_;
  MemorySource source_{small_layout()};
  MemoryPlaces places_;
};

TEST_F(SnapshotDamage, AWholeOneHasNone) { EXPECT_EQ(found(), ""); }

// So many a part. Under a sanitizer, where each takes ten times as long, it is enough that the code
// is seen at work.
constexpr int k_damages = k_under_address_sanitizer ? 50 : 500;

/// Ten thousand damages, or a thousand, in twenty parts.
class SnapshotDamages : public SnapshotDamage, public testing::WithParamInterface<unsigned> {
 protected:
  // Small lanes: each check makes one.
  std::unique_ptr<Runtime> runtime_with_files_ =
      std::move(*make_runtime({.file = {.engine = FileEngineKind::threads, .depth = 1}}));
};
INSTANTIATE_TEST_SUITE_P(Seeds, SnapshotDamages, testing::Range(0u, 20u));

TEST_P(SnapshotDamages, EachDamagedByteIsFound) {
  std::mt19937_64 random(GetParam());
  const std::size_t length = places_.file().bytes.size();
  for (int i = 0; i < k_damages; ++i) {
    const std::size_t at = random() % length;
    const auto flip = static_cast<std::byte>(1 + random() % 255);
    ASSERT_NE(found_after_damage_at(at, flip), "") << "byte " << at << " of " << length;
  }
}

/// The same of a file, as --check reads it: its holes are looked for, and a damage in one fills it.
TEST_P(SnapshotDamages, EachDamagedByteOfAFileIsFound) {
  const TempFolder folder;
  const std::string uri = "file://" + (folder / "a.ferry").native();
  ASSERT_TRUE(send(*runtime_with_files_, source_, uri, {}).ok());
  const UniqueFd file(::open((folder / "a.ferry").c_str(), O_RDWR | O_CLOEXEC));
  const auto length = static_cast<std::uint64_t>(status_of(folder / "a.ferry").st_size);
  std::mt19937_64 random(GetParam());
  for (int i = 0; i < k_damages; ++i) {
    const auto at = static_cast<off_t>(random() % length);
    std::byte was{};
    ASSERT_EQ(::pread(file.get(), &was, 1, at), 1);
    const std::byte is = was ^ static_cast<std::byte>(1 + random() % 255);
    ASSERT_EQ(::pwrite(file.get(), &is, 1, at), 1);
    const auto snapshot = Snapshot::open(*runtime_with_files_, uri);
    if (snapshot) {
      const auto check = (*snapshot)->check(1, {});
      ASSERT_TRUE(check) << check.error().text();
      ASSERT_NE(check->damaged, 0u) << "byte " << at << " of " << length;
    } else {
      ASSERT_EQ(snapshot.error().code, Errc::integrity) << snapshot.error().text();
    }
    ASSERT_EQ(::pwrite(file.get(), &was, 1, at), 1);
  }
}

TEST_F(SnapshotDamage, ADamagedPageIsNamedByItsRegionAndOffset) {
  const wire::ImagePlan plan = wire::plan_image(small_layout());
  EXPECT_EQ(found_after_damage_at(plan.regions[0].data_offset + 4 * k_unit_bytes + 100),
            "region 'ram0', offset 0x4000");
  EXPECT_EQ(found_after_damage_at(plan.regions[2].data_offset + 7 * k_unit_bytes + 4000),
            "region 'ram2', offset 0x7000")
      << "behind the region's last byte";
}

TEST_F(SnapshotDamage, AByteInAPageOfZerosIsFound) {
  MemoryPlace place(std::shared_ptr<MemoryFile>(&places_.file(), [](MemoryFile*) {}));
  const auto reader = SnapshotReader::borrow(place, "/a");
  ASSERT_TRUE(reader);
  std::uint64_t unit = 0;
  while ((*reader)->present().test(0, unit * k_unit_bytes)) ++unit;
  const wire::ImagePlan plan = wire::plan_image(small_layout());
  EXPECT_THAT(found_after_damage_at(plan.regions[0].data_offset + unit * k_unit_bytes),
              HasSubstr("not zeros"));
}

TEST_F(SnapshotDamage, EveryPartIsNamed) {
  const wire::ImagePlan plan = wire::plan_image(small_layout());
  EXPECT_THAT(found_after_damage_at(0), HasSubstr("is it a snapshot of Ferry's?"));
  EXPECT_THAT(found_after_damage_at(40), HasSubstr("its checksum differs"));
  EXPECT_THAT(found_after_damage_at(4095), HasSubstr("the padding behind the image header"));
  EXPECT_THAT(found_after_damage_at(plan.index.offset), HasSubstr("the index of checksums"));
  EXPECT_THAT(found_after_damage_at(plan.bitmap.offset), HasSubstr("the bitmap of pages"));
  EXPECT_THAT(found_after_damage_at(plan.table.offset),
              HasSubstr("the checksums from region 'ram0', offset 0x0 on"));
  EXPECT_THAT(found_after_damage_at(plan.end() + 12), HasSubstr("directory of sections"));
  EXPECT_THAT(found_after_damage_at(plan.end() + k_unit_bytes), HasSubstr("section 'cpu'"));
}

/// Where a disk fails while a snapshot is checked, that is no damage: nobody knows.
TEST_F(SnapshotDamage, WhatCannotBeReadEndsACheck) {
  MemoryPlace place(std::shared_ptr<MemoryFile>(&places_.file(), [](MemoryFile*) {}));
  const auto reader = SnapshotReader::borrow(place, "/a");
  ASSERT_TRUE(reader);
  const wire::ImagePlan plan = wire::plan_image(small_layout());
  for (const std::uint64_t bad :
       {plan.table.offset, plan.regions[2].data_offset, (*reader)->sections().front().offset}) {
    places_.file().on_read = [bad](Stretch stretch) {
      return bad < stretch.offset || bad - stretch.offset >= stretch.length;
    };
    const auto check = check_snapshot(**reader, 2, {}, {});
    ASSERT_FALSE(check) << "byte " << bad;
    EXPECT_EQ(check.error().code, Errc::system);
    EXPECT_EQ(check.error().sys, EIO) << check.error().text();
  }
}

/// A block of checksums is read for its pages and for itself, and a disk may give other bytes the
/// next time: it is told once, whoever saw it.
TEST_F(SnapshotDamage, ChecksumsThatAreDamagedOnlyOnceAreFoundAllTheSame) {
  MemoryPlace place(std::shared_ptr<MemoryFile>(&places_.file(), [](MemoryFile*) {}));
  const auto reader = SnapshotReader::borrow(place, "/a");
  ASSERT_TRUE(reader);
  const std::uint64_t block = wire::plan_image(small_layout()).table.offset;
  for (const unsigned damaged_times : {0b01u, 0b10u, 0b11u}) {
    std::atomic<unsigned> times = 0;
    places_.file().on_have_read = [&](Stretch stretch, std::span<std::byte> bytes) {
      if (stretch.offset == block && (damaged_times >> times++ & 1) != 0) bytes[5] ^= std::byte{1};
    };
    const auto check = check_snapshot(**reader, 1, {}, {});
    ASSERT_TRUE(check) << check.error().text();
    EXPECT_GE(times, 2u);
    ASSERT_EQ(check->damaged, 1u) << damaged_times;
    EXPECT_EQ(check->damages.front().what, "the checksums from region 'ram0', offset 0x0 on");
  }
}

/// A run of pages may have its checksums in two blocks. Where one of them is damaged, what the
/// other one says of its pages is heard.
TEST(SnapshotDamageBetweenBlocks, DoesNotHideWhatTheOtherBlockTells) {
  auto runtime = Runtime::create();
  ASSERT_TRUE(runtime);
  const Layout layout = layout_of({600 * k_unit_bytes});
  MemorySource source(layout);
  source.write(0, wire::k_checksums_a_block, std::byte{3});  // or it would be zeros
  MemoryPlaces places;
  save(**runtime, source.mappings().memory(), places);
  MemoryPlace place(std::shared_ptr<MemoryFile>(&places.file(), [](MemoryFile*) {}));
  const auto reader = SnapshotReader::borrow(place, "/a");
  ASSERT_TRUE(reader);
  const std::uint64_t boundary = wire::k_bytes_a_block;
  ASSERT_TRUE((*reader)->present().test(0, boundary - k_unit_bytes));
  ASSERT_TRUE((*reader)->present().test(0, boundary)) << "one run, in both blocks";
  std::vector<std::byte> fetched(2 * k_unit_bytes);
  const PageRun both{0, boundary - k_unit_bytes, fetched.size()};
  ASSERT_TRUE((*reader)->fetch(both, fetched));
  EXPECT_THAT(fetched, testing::ElementsAreArray(source.mappings().memory().at(both).value()));

  const wire::ImagePlan plan = wire::plan_image(layout);
  for (const std::uint64_t damaged_block : {0u, 1u}) {
    const std::uint64_t page = boundary - (damaged_block == 0 ? 0 : k_unit_bytes);
    auto& bytes = places.file().bytes;
    const auto damage = [&] {
      bytes[plan.regions[0].data_offset + page] ^= std::byte{1};
      bytes[plan.table.offset + damaged_block * k_unit_bytes] ^= std::byte{1};
    };
    damage();
    const auto check = check_snapshot(**reader, 1, {}, {});
    damage();  // and undone
    ASSERT_TRUE(check) << check.error().text();
    ASSERT_EQ(check->damaged, 2u) << damaged_block;
    EXPECT_EQ(check->damages[0].what, fmt::format("region 'ram0', offset {:#x}", page));
    EXPECT_THAT(check->damages[1].what, HasSubstr("the checksums from"));
  }
}

TEST_F(SnapshotDamage, AStopEndsACheckWhereverItIs) {
  MemoryPlace place(std::shared_ptr<MemoryFile>(&places_.file(), [](MemoryFile*) {}));
  const auto reader = SnapshotReader::borrow(place, "/a");
  ASSERT_TRUE(reader);
  const wire::ImagePlan plan = wire::plan_image(small_layout());
  for (const std::uint64_t at :
       {plan.table.offset, plan.regions[0].data_offset, (*reader)->sections().front().offset}) {
    std::stop_source stop;
    places_.file().on_read = [at, &stop](Stretch stretch) {
      if (stretch.offset == at) stop.request_stop();
      return true;
    };
    const auto check = check_snapshot(**reader, 2, stop.get_token(), {});
    ASSERT_FALSE(check) << "byte " << at;
    EXPECT_EQ(check.error().code, Errc::cancelled) << check.error().text();
  }
}

TEST_F(SnapshotDamage, OneThatIsCutShortOrGrewIsRefused) {
  auto& bytes = places_.file().bytes;
  const auto whole = bytes;
  for (const std::size_t length : {std::size_t{0}, std::size_t{10}, std::size_t{4096},
                                   whole.size() / 2, whole.size() - 1, whole.size() + 1}) {
    bytes = whole;
    bytes.resize(length);
    EXPECT_NE(found(), "") << length;
  }
}

TEST_F(SnapshotDamage, AForeignFileIsRefused) {
  places_.file().bytes.assign(100'000, std::byte{'x'});
  EXPECT_THAT(found(), HasSubstr("is it a snapshot of Ferry's?"));
}

}  // namespace
}  // namespace ferry::test
