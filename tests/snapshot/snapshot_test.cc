// Guests that are written down and taken up again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "ferry/ferry.h"
#include "tests/image/temp_folder.h"
#include "tests/same_bytes.h"
#include "tests/snapshot/saved.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

/// Its regions are by turns reached by a descriptor alone, and mapped where no unit begins.
class MixedDestination final : public DestinationGuest {
 public:
  Result<GuestMemory> map_memory(const Layout& wanted) override {
    std::vector<MemoryRegion> regions;
    for (const LayoutRegion& each : wanted.regions) {
      MemoryRegion region{.id = static_cast<RegionId>(regions.size()),
                          .name = each.name,
                          .guest_address = each.guest_address,
                          .page_size = each.page_size,
                          .length = each.length};
      if (region.id % 2 == 0) {
        files_.emplace_back(::open((folder_ / each.name).c_str(), O_RDWR | O_CREAT, 0600));
        EXPECT_EQ(::ftruncate(files_.back().get(), static_cast<off_t>(each.length)), 0);
        region.backing = Backing::file;
        region.fd = files_.back().get();
      } else {
        mapped_.emplace_back(each.length + k_shift);
        region.host = mapped_.back().data() + k_shift;
      }
      regions.push_back(std::move(region));
    }
    return GuestMemory::create(std::move(regions));
  }
  Result<void> prepare() override { return {}; }
  Result<void> start(const OwnerToken&) override { return {}; }

  bool has(MemorySource& source) const {
    for (std::size_t id = 0; id < files_.size() + mapped_.size(); ++id) {
      const auto expected = source.mappings().region(id);
      if (id % 2 == 1) {
        if (!same_bytes(expected, std::span(mapped_[id / 2]).subspan(k_shift))) return false;
        continue;
      }
      const std::string found = read_file(folder_ / source.memory().regions()[id].name);
      if (!same_bytes(expected, std::as_bytes(std::span(found)))) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t k_shift = 48;
  TempFolder folder_;
  std::vector<UniqueFd> files_;
  std::vector<std::vector<std::byte>> mapped_;
};

class SnapshotOfAGuest : public testing::Test {
 protected:
  SnapshotOfAGuest() : runtime_(std::move(*make_runtime())) {}

  TempFolder folder_;
  const std::string uri_ = "file://" + (folder_ / "snap.ferry").native();
  std::unique_ptr<Runtime> runtime_;
};

TEST_F(SnapshotOfAGuest, ComesBackAsItWas) {
  MemorySource source(layout_of({3 << 20, 0, 4 * k_unit_bytes + 17, 700 * k_unit_bytes}));
  const Outcome saved = send(*runtime_, source, uri_, {});
  ASSERT_TRUE(saved.ok()) << saved.why_not->text();
  EXPECT_EQ(saved.owner, Owner::destination);
  EXPECT_EQ(saved.report.proof, Proof::durable_image);
  MemoryDestination destination;
  const Outcome loaded = receive(*runtime_, destination, uri_, {});
  ASSERT_TRUE(loaded.ok()) << loaded.why_not->text();
  EXPECT_EQ(loaded.owner, Owner::destination);
  EXPECT_EQ(destination.starts(), 1u);
  EXPECT_TRUE(identical(source, destination));
  EXPECT_THAT(folder_.names(), UnorderedElementsAre("snap.ferry"));
}

/// What all lanes did is what was done, and their time went into what lanes of a file do.
void expect_told_by_lanes(const Report& report) {
  ASSERT_EQ(report.lanes.size(), report.channels);
  LaneReport sum;
  for (const LaneReport& lane : report.lanes) {
    EXPECT_EQ(lane.lane, static_cast<unsigned>(&lane - report.lanes.data()));
    sum.wire_bytes += lane.wire_bytes;
    sum.packets += lane.packets;
    sum.times += lane.times;
  }
  EXPECT_GE(sum.wire_bytes, report.wire_bytes);  // of whole units
  EXPECT_LT(sum.wire_bytes, report.wire_bytes + k_unit_bytes);
  EXPECT_GT(sum.packets, 0u);
  EXPECT_EQ(sum.packets, report.packets);
  const LaneTimes& times = sum.times;
  EXPECT_GT(std::min({times.read, times.checksum, times.place}).count(), 0);
  EXPECT_EQ(times.total(), times.read + times.checksum + times.place + times.idle);
}

TEST_F(SnapshotOfAGuest, IsToldOfByEachLaneThatWroteOrReadIt) {
  MemorySource source(layout_of({20 << 20, 4 * k_unit_bytes + 17}));
  SendOptions sending;
  sending.channels = 3;
  const Outcome saved = send(*runtime_, source, uri_, sending);
  ASSERT_TRUE(saved.ok()) << saved.why_not->text();
  expect_told_by_lanes(saved.report);
  const auto idle = [](const LaneReport& lane) { return lane.times.idle.count() > 0; };
  EXPECT_TRUE(std::ranges::any_of(saved.report.lanes, idle)) << "who loads has no queue to wait at";
  MemoryDestination destination;
  ReceiveOptions receiving;
  receiving.channels = 2;
  const Outcome loaded = receive(*runtime_, destination, uri_, receiving);
  ASSERT_TRUE(loaded.ok()) << loaded.why_not->text();
  expect_told_by_lanes(loaded.report);
  EXPECT_EQ(loaded.report.zero_bytes, saved.report.zero_bytes);
}

TEST_F(SnapshotOfAGuest, SaysThatABoundHeldItBack) {
  MemorySource source(layout_of({2 << 20}));
  BandwidthLimit bound(4 << 20);
  SendOptions options;
  options.channels = 1;
  options.bandwidth = &bound;
  const Outcome saved = send(*runtime_, source, uri_, options);
  ASSERT_TRUE(saved.ok()) << saved.why_not->text();
  std::chrono::nanoseconds held{};
  for (const LaneReport& lane : saved.report.lanes) held += lane.times.bandwidth;
  EXPECT_GT(held, std::chrono::milliseconds(50));  // half a second, unless the machine stood still
  EXPECT_THAT(saved.report.limit, HasSubstr("limited by the bound on bandwidth"));
}

TEST_F(SnapshotOfAGuest, ComesBackIntoMemoryOfEveryKind) {
  MemorySource source(layout_of({(3 << 20) + 5, 90 * k_unit_bytes, 700 * k_unit_bytes, 3 << 20, 9,
                                 5 * k_unit_bytes + 1, 40 * k_unit_bytes + 4095}));
  ASSERT_TRUE(send(*runtime_, source, uri_, {}).ok());
  for (const Caching caching : {Caching::automatic, Caching::buffered}) {
    for (const unsigned depth : {1u, 2u, 3u, 32u}) {
      const auto runtime = make_runtime({.file = {.caching = caching, .depth = depth}});
      ASSERT_TRUE(runtime);
      MixedDestination destination;
      ReceiveOptions options;
      options.channels = 1;
      const Outcome loaded = receive(**runtime, destination, uri_, options);
      ASSERT_TRUE(loaded.ok()) << loaded.why_not->text();
      EXPECT_TRUE(destination.has(source)) << depth;
    }
  }
}

TEST_F(SnapshotOfAGuest, HasWhatARunningGuestWroteLast) {
  MemorySource source(layout_of({400 * k_unit_bytes}));
  // Rewritten, filled for the first time, and cleared: each once while it runs, and when paused.
  source.on_harvest = [&]() -> Result<void> {
    if (source.harvests() == 1) {
      source.write(0, 5, std::byte{0x55});
      source.write(0, 9, std::byte{0x99});
      source.write(0, 10, std::byte{0});
    }
    return {};
  };
  source.on_pause = [&]() -> Result<void> {
    source.write(0, 5, std::byte{0});
    source.write(0, 11, std::byte{0x11});
    return {};
  };
  SendOptions options;
  options.verify = Verify::full;
  const Outcome saved = send(*runtime_, source, uri_, options);
  ASSERT_TRUE(saved.ok()) << saved.why_not->text();
  MemoryDestination destination;
  ASSERT_TRUE(receive(*runtime_, destination, uri_, {}).ok());
  EXPECT_TRUE(identical(source, destination));
  const auto snapshot = Snapshot::open(*runtime_, uri_);
  ASSERT_TRUE(snapshot);
  EXPECT_FALSE((*snapshot)->present().test(0, 5 * k_unit_bytes)) << "zeros again";
  EXPECT_TRUE((*snapshot)->present().test(0, 11 * k_unit_bytes));
  EXPECT_EQ((*snapshot)->check(2, {})->damaged, 0u);
}

TEST_F(SnapshotOfAGuest, GivesSinglePages) {
  MemorySource source(layout_of({600 * k_unit_bytes, 2 * k_unit_bytes + 9}));
  ASSERT_TRUE(send(*runtime_, source, uri_, {}).ok());
  const auto snapshot = Snapshot::open(*runtime_, uri_);
  ASSERT_TRUE(snapshot) << snapshot.error().text();
  for (const auto& region : source.memory().regions()) {
    for (std::uint64_t at = 0; at < region.length; at += k_unit_bytes) {
      std::vector<std::byte> page(std::min(k_unit_bytes, region.length - at));
      ASSERT_TRUE((*snapshot)->fetch({region.id, at, page.size()}, page));
      ASSERT_TRUE(same_bytes(page, std::span(region.host + at, page.size()))) << at;
    }
  }
  std::vector<std::byte> page(k_unit_bytes);
  for (const PageRun& none : {PageRun{2, 0, k_unit_bytes}, PageRun{0, 1, k_unit_bytes},
                              PageRun{0, 600 * k_unit_bytes, k_unit_bytes}, PageRun{0, 0, 1}}) {
    const auto fetched = (*snapshot)->fetch(none, page);
    ASSERT_FALSE(fetched);
    EXPECT_EQ(fetched.error().code, Errc::usage);
  }
}

TEST_F(SnapshotOfAGuest, DamageStopsALoadAndNamesThePage) {
  MemorySource source(layout_of({64 * k_unit_bytes}));
  ASSERT_TRUE(send(*runtime_, source, uri_, {}).ok());
  const auto snapshot = Snapshot::open(*runtime_, uri_);
  ASSERT_TRUE(snapshot);
  const std::uint64_t at = wire::plan_image((*snapshot)->layout()).regions[0].data_offset;
  {
    const UniqueFd file(::open((folder_ / "snap.ferry").c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::pwrite(file.get(), "?", 1, static_cast<off_t>(at + 7 * k_unit_bytes + 9)), 1);
  }
  MemoryDestination destination;
  const Outcome loaded = receive(*runtime_, destination, uri_, {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.owner, Owner::source);
  EXPECT_EQ(destination.starts(), 0u);
  EXPECT_EQ(loaded.why_not->code, Errc::integrity);
  EXPECT_THAT(loaded.why_not->text(), HasSubstr("region 'ram0', offset 0x7000"));
  std::vector<std::byte> page(k_unit_bytes);
  EXPECT_EQ((*snapshot)->fetch({0, 7 * k_unit_bytes, k_unit_bytes}, page).error().code,
            Errc::integrity);
  EXPECT_TRUE((*snapshot)->fetch({0, 6 * k_unit_bytes, k_unit_bytes}, page));
}

TEST_F(SnapshotOfAGuest, AStopLeavesTheGuestHereAndNothingThere) {
  MemorySource source(layout_of({64 * k_unit_bytes}));
  std::stop_source stop;
  source.on_pause = [&]() -> Result<void> {
    stop.request_stop();
    return {};
  };
  const Outcome saved = send(*runtime_, source, uri_, {}, stop.get_token());
  ASSERT_FALSE(saved.ok());
  EXPECT_EQ(saved.why_not->code, Errc::cancelled);
  EXPECT_EQ(saved.owner, Owner::source);
  EXPECT_TRUE(source.runs());
  EXPECT_THAT(folder_.names(), IsEmpty());
}

TEST_F(SnapshotOfAGuest, AFileThatExistsIsKeptUnlessItIsToBeReplaced) {
  write_file(folder_ / "snap.ferry", "older");
  MemorySource source(layout_of({k_unit_bytes}));
  const Outcome kept = send(*runtime_, source, uri_, {});
  ASSERT_FALSE(kept.ok());
  EXPECT_EQ(kept.owner, Owner::source);
  EXPECT_THAT(kept.why_not->text(), HasSubstr("it exists already"));
  EXPECT_EQ(read_file(folder_ / "snap.ferry"), "older");
  const auto other = make_runtime({.file = {.existing = Existing::replace}});
  EXPECT_TRUE(send(**other, source, uri_, {}).ok());
  EXPECT_TRUE(Snapshot::open(*runtime_, uri_));
}

TEST_F(SnapshotOfAGuest, ANameThatCannotBeGivenLeavesTheGuestHere) {
  const auto runtime = make_runtime({.file = {.existing = Existing::replace}});
  MemorySource source(layout_of({9 * k_unit_bytes}));
  source.on_save = [&](StateWriter&) -> Result<void> {
    std::filesystem::create_directory(folder_ / "snap.ferry");
    return {};
  };
  const Outcome saved = send(**runtime, source, uri_, {});
  ASSERT_FALSE(saved.ok());
  EXPECT_EQ(saved.owner, Owner::source);
  EXPECT_EQ(saved.why_not->code, Errc::system) << saved.why_not->text();
  EXPECT_TRUE(source.runs());
  EXPECT_THAT(folder_.names(), UnorderedElementsAre("snap.ferry"));
  EXPECT_TRUE(std::filesystem::is_directory(folder_ / "snap.ferry"));
}

TEST_F(SnapshotOfAGuest, AStopIsHeardInTheMiddleOfDeviceState) {
  MemorySource source(layout_of({9 * k_unit_bytes}));
  std::stop_source stop;
  const std::vector<std::byte> piece(k_state_piece_bytes);
  unsigned pieces = 0;
  source.on_save = [&](StateWriter& out) -> Result<void> {
    out.section("endless");
    // Without end, but for the stop.
    for (; out.status(); ++pieces) {
      if (pieces == 3) stop.request_stop();
      out.bytes(piece);
    }
    return {};
  };
  const Outcome saved = send(*runtime_, source, uri_, {}, stop.get_token());
  ASSERT_FALSE(saved.ok());
  EXPECT_EQ(saved.why_not->code, Errc::cancelled) << saved.why_not->text();
  EXPECT_TRUE(source.runs());
  EXPECT_THAT(folder_.names(), IsEmpty());
}

TEST_F(SnapshotOfAGuest, AStopIsHeardInTheMiddleOfASectionThatIsLoaded) {
  MemorySource source(layout_of({9 * k_unit_bytes}));
  source.on_save = [&](StateWriter& out) -> Result<void> {
    out.section("disk").bytes(std::vector<std::byte>(5 * k_state_piece_bytes));
    return {};
  };
  ASSERT_TRUE(send(*runtime_, source, uri_, {}).ok());
  MemoryDestination destination;
  std::stop_source stop;
  std::uint64_t read_bytes = 0;
  destination.on_load = [&](StateReader& in) -> Result<void> {
    FERRY_TRY(in.next());
    while (in.remaining() > 0) {
      read_bytes += FERRY_TRY(in.some()).size();
      stop.request_stop();
    }
    return {};
  };
  const Outcome loaded = receive(*runtime_, destination, uri_, {}, stop.get_token());
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.why_not->code, Errc::cancelled) << loaded.why_not->text();
  EXPECT_EQ(read_bytes, k_state_piece_bytes);
}

TEST_F(SnapshotOfAGuest, AFailedLaneWaitsForNoBandwidth) {
  MemoryPlaces places;
  places.file().full = true;
  MemorySource source(layout_of({2000 * k_unit_bytes}));
  BandwidthLimit bandwidth(1);  // a second byte a second: a lane that waits for it never ends
  SendOptions options;
  options.channels = 8;
  options.bandwidth = &bandwidth;
  const PrecopyGauge gauge;
  ImageRecipient recipient(*runtime_, source.memory(), options, gauge, {});
  ASSERT_TRUE(recipient.connect(places, Uri::parse("file:///a").value()));
  ASSERT_TRUE(recipient.layout(source.memory().layout()));
  ASSERT_TRUE(recipient.begin_round(0, Motion::still));
  (void)recipient.submit({0, 0, 2000 * k_unit_bytes}, Content::data);
  DirtyBitmap again(source.memory().layout());
  const Result<void> ended = recipient.end_round(0, again);
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().sys, ENOSPC);
}

TEST_F(SnapshotOfAGuest, DeviceStateGoesInAndComesOut) {
  MemorySource source(small_layout());
  const std::vector<std::byte> large(k_state_piece_bytes + 5, std::byte{9});
  source.on_save = [&](StateWriter& out) -> Result<void> {
    out.section("clock", 2).u64(123).boolean(true);
    out.section("nothing", 1);
    out.section("disk", 7).bytes(large);
    return {};
  };
  const Outcome saved = send(*runtime_, source, uri_, {});
  ASSERT_TRUE(saved.ok()) << saved.why_not->text();

  MemoryDestination destination;
  std::vector<std::string> read;
  destination.on_load = [&](StateReader& in) -> Result<void> {
    while (const auto section = FERRY_TRY(in.next())) {
      read.push_back(section->name + " " + std::to_string(section->version));
      if (section->name == "clock") {
        EXPECT_EQ(FERRY_TRY(in.u64()), 123u);
        EXPECT_TRUE(FERRY_TRY(in.boolean()));
      }
      if (section->name == "disk") {
        std::vector<std::byte> bytes(section->length);
        FERRY_TRY(in.bytes(bytes));
        EXPECT_EQ(bytes, large);
      }
    }
    return {};
  };
  const Outcome loaded = receive(*runtime_, destination, uri_, {});
  ASSERT_TRUE(loaded.ok()) << loaded.why_not->text();
  EXPECT_TRUE(identical(source, destination));
  EXPECT_EQ(read, (std::vector<std::string>{"clock 2", "nothing 1", "disk 7"}));
  EXPECT_EQ(loaded.report.state_sections, 3u);
  EXPECT_EQ(loaded.report.state_bytes, 9 + large.size());
}

TEST_F(SnapshotOfAGuest, DeviceStateThatNobodyReadsStopsALoad) {
  MemorySource source(small_layout());
  source.on_save = [](StateWriter& out) -> Result<void> {
    out.section("clock", 2).u64(123);
    return {};
  };
  ASSERT_TRUE(send(*runtime_, source, uri_, {}).ok());
  MemoryDestination destination;
  destination.on_load = [](StateReader&) -> Result<void> { return {}; };
  const Outcome loaded = receive(*runtime_, destination, uri_, {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.why_not->code, Errc::guest);
  EXPECT_THAT(loaded.why_not->text(), HasSubstr("'clock' was not read"));
  EXPECT_EQ(destination.starts(), 0u);
}

TEST_F(SnapshotOfAGuest, DeviceStateIsReadAndVerified) {
  MemorySource source(small_layout());
  MemoryPlaces places;
  const std::vector<std::byte> state(300'000, std::byte{9});
  save(*runtime_, source.memory(), places, {{"cpu", state}, {"empty", {}}});
  MemoryPlace place(std::shared_ptr<MemoryFile>(&places.file(), [](MemoryFile*) {}));
  const auto reader = SnapshotReader::borrow(place, "/a");
  ASSERT_TRUE(reader) << reader.error().text();
  ASSERT_EQ((*reader)->info().sections.size(), 2u);
  EXPECT_EQ((*reader)->info().sections[0].name, "cpu");
  EXPECT_EQ((*reader)->info().sections[0].version, 3u);
  EXPECT_EQ((*reader)->section(0), state);
  EXPECT_TRUE((*reader)->section(1)->empty());
  EXPECT_EQ((*reader)->section(2).error().code, Errc::usage);
}

}  // namespace
}  // namespace ferry::test
