// Pages written straight into the other side's memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "rdma/lockable.h"
#include "tests/rdma/rdma_ends.h"
#include "tests/same_bytes.h"

namespace ferry::test {
namespace {

class RdmaPlacedPages : public testing::TestWithParam<Device> {
 protected:
  void connect(RdmaOptions options = {}) {
    pair_ = std::make_unique<RdmaPair>(GetParam(), options);
    if (pair_->why_not() && GetParam() == Device::of_this_host) {
      GTEST_SKIP() << "this host has none: " << pair_->why_not()->text();
    }
    ASSERT_FALSE(pair_->why_not()) << pair_->why_not()->text();
    lane_ = connected();
  }
  RdmaEnds connected() {
    auto ends = pair_->connect();
    EXPECT_TRUE(ends) << text_of(ends);
    return ends ? std::move(*ends) : RdmaEnds{};
  }
  static PlacedIo& io(const RdmaEnds& lane) { return *lane.source->facets().placed_io; }
  static PlacedTarget& target(const RdmaEnds& lane) { return *lane.target->facets().placed_target; }
  static Result<void> put(const RdmaEnds& lane, const RdmaGuest& guest, const PageRun& run) {
    return io(lane).put(run, guest.at(run));
  }
  /// A byte each way: the target's reader hears what is said of rights meanwhile.
  static void expect_a_byte_passes(const RdmaEnds& lane) {
    ASSERT_TRUE(write_all(*lane.source, "x"));
    EXPECT_EQ(read_all(*lane.target, 1), "x");
  }

  std::unique_ptr<RdmaPair> pair_;
  RdmaEnds lane_;
};

INSTANTIATE_TEST_SUITE_P(Over, RdmaPlacedPages, testing::Values(Device::none, Device::of_this_host),
                         [](const auto& device) {
                           return device.param == Device::none ? "AFabric" : "ADevice";
                         });

TEST_P(RdmaPlacedPages, AreThereWhenTheBytesBehindThemAreRead) {
  connect();
  if (IsSkipped()) return;
  const RdmaGuest from({2 * k_mib + 5 * k_page, 3 * k_page + 100}, 1);
  const RdmaGuest to({2 * k_mib + 5 * k_page, 3 * k_page + 100});
  ASSERT_TRUE(io(lane_).attach(from.memory()));
  const auto admitted = target(lane_).admit(to.memory());
  ASSERT_TRUE(admitted) << text_of(admitted);
  // Longer than a request, a part of a region, and all of another one.
  const std::vector<PageRun> runs{
      {0, 0, 2 * k_mib + k_page}, {0, 2 * k_mib + 3 * k_page, k_page}, {1, 0, 3 * k_page + 100}};
  for (const PageRun& run : runs) {
    const auto done = put(lane_, from, run);
    ASSERT_TRUE(done) << text_of(done);
  }
  expect_a_byte_passes(lane_);
  for (const PageRun& run : runs) EXPECT_TRUE(same_bytes(from.at(run), to.at(run)));
  const std::vector<std::byte> nothing(k_page);
  EXPECT_TRUE(same_bytes(to.at({0, 2 * k_mib + 2 * k_page, k_page}), nothing));
  EXPECT_EQ(io(lane_).under_way(), 3u);
  EXPECT_TRUE(io(lane_).flush());
  EXPECT_EQ(io(lane_).under_way(), 0u);
}

TEST_P(RdmaPlacedPages, MoreOfThemThanMayBeUnderWay) {
  connect();
  if (IsSkipped()) return;
  const RdmaGuest from({300 * k_page}, 2);
  const RdmaGuest to({300 * k_page});
  ASSERT_TRUE(io(lane_).attach(from.memory()));
  ASSERT_TRUE(target(lane_).admit(to.memory()));
  for (std::size_t page = 0; page < 300; ++page) {
    ASSERT_TRUE(put(lane_, from, {0, page * k_page, k_page}));
    ASSERT_LE(io(lane_).under_way(), io(lane_).depth());
  }
  while (io(lane_).under_way() > 0) ASSERT_TRUE(io(lane_).settle());
  expect_a_byte_passes(lane_);
  EXPECT_TRUE(same_bytes(from.region(0), to.region(0)));
}

TEST_P(RdmaPlacedPages, FromStagingBuffersThatComeRoundAgain) {
  connect();
  if (IsSkipped()) return;
  const RdmaGuest from({6 * k_mib}, 3);
  const RdmaGuest to({6 * k_mib});
  ASSERT_TRUE(target(lane_).admit(to.memory()));
  for (std::size_t at = 0; at < 6 * k_mib; at += PlacedIo::k_staging_bytes) {
    const PageRun run{0, at, PlacedIo::k_staging_bytes};
    const auto staging = io(lane_).staging(run.length);
    ASSERT_TRUE(staging) << text_of(staging);
    std::ranges::copy(from.at(run), staging->begin());
    ASSERT_TRUE(io(lane_).put(run, *staging));
  }
  expect_a_byte_passes(lane_);
  EXPECT_TRUE(same_bytes(from.region(0), to.region(0)));
}

TEST_P(RdmaPlacedPages, WaitUntilTheyAreAdmitted) {
  connect();
  if (IsSkipped()) return;
  const RdmaGuest from({k_page}, 4);
  const RdmaGuest to({k_page});
  ASSERT_TRUE(io(lane_).attach(from.memory()));
  std::optional<Result<void>> done;
  BlockedThread writer([&] { done = put(lane_, from, {0, 0, k_page}); });
  writer.wait_until_asleep();
  ASSERT_TRUE(target(lane_).admit(to.memory()));
  writer.join();
  EXPECT_TRUE(*done) << text_of(*done);
  expect_a_byte_passes(lane_);
  EXPECT_TRUE(same_bytes(from.region(0), to.region(0)));
}

TEST_P(RdmaPlacedPages, ThatWaitToBeAdmittedAreWokenByACancel) {
  connect();
  if (IsSkipped()) return;
  const RdmaGuest from({k_page}, 5);
  ASSERT_TRUE(io(lane_).attach(from.memory()));
  std::optional<Result<void>> done;
  BlockedThread writer([&] { done = put(lane_, from, {0, 0, k_page}); });
  writer.wait_until_asleep();
  lane_.source->cancel(Errc::timed_out);
  writer.join();
  EXPECT_EQ(code_of(*done), Errc::timed_out);
  EXPECT_TRUE(text_of(*done).starts_with("write to the memory of rdma://")) << text_of(*done);
}

TEST_P(RdmaPlacedPages, FailAtTheirSourceOnceTheRightIsWithdrawn) {
  connect();
  if (IsSkipped()) return;
  const RdmaGuest from({8 * k_page}, 6);
  const RdmaGuest to({8 * k_page});
  ASSERT_TRUE(io(lane_).attach(from.memory()));
  ASSERT_TRUE(target(lane_).admit(to.memory()));
  ASSERT_TRUE(put(lane_, from, {0, 0, k_page}));
  ASSERT_TRUE(io(lane_).flush());
  target(lane_).withdraw();
  target(lane_).withdraw();

  ASSERT_TRUE(
      put(lane_, from, {0, 4 * k_page, k_page}));  // begun: what becomes of it is told later
  const auto late = io(lane_).settle();
  EXPECT_EQ(code_of(late), Errc::disconnected);
  EXPECT_TRUE(text_of(late).contains("write to the memory of rdma://")) << text_of(late);
  EXPECT_TRUE(text_of(late).contains("does not let us write there")) << text_of(late);
  EXPECT_EQ(text_of(put(lane_, from, {0, 0, k_page})), text_of(late));
  const std::vector<std::byte> nothing(k_page);
  EXPECT_TRUE(same_bytes(to.at({0, 4 * k_page, k_page}), nothing));
  EXPECT_TRUE(same_bytes(to.at({0, 0, k_page}), from.at({0, 0, k_page})));
}

TEST_P(RdmaPlacedPages, GoNowhereButWhereTheyWereAdmitted) {
  connect();
  if (IsSkipped()) return;
  const RdmaGuest from({8 * k_page, k_page}, 7);
  const RdmaGuest to({4 * k_page});
  ASSERT_TRUE(io(lane_).attach(from.memory()));
  ASSERT_TRUE(target(lane_).admit(to.memory()));
  const auto beyond = put(lane_, from, {0, 2 * k_page, 3 * k_page});
  EXPECT_EQ(code_of(beyond), Errc::protocol) << text_of(beyond);
  RdmaEnds other = connected();
  ASSERT_TRUE(io(other).attach(from.memory()));
  ASSERT_TRUE(target(other).admit(to.memory()));
  EXPECT_EQ(code_of(put(other, from, {1, 0, k_page})), Errc::protocol);
}

/// More words than there are buffers for them, while the target's reader is asleep.
TEST_P(RdmaPlacedPages, GoToAsManyRegionsAsThereAre) {
  connect();
  if (IsSkipped()) return;
  const std::vector<std::size_t> lengths(100, k_page);
  const RdmaGuest from(lengths, 12);
  const RdmaGuest to(lengths);
  BlockedThread reader([&] { EXPECT_EQ(read_all(*lane_.target, 1), "x"); });
  reader.wait_until_asleep();
  ASSERT_TRUE(io(lane_).attach(from.memory()));
  ASSERT_TRUE(target(lane_).admit(to.memory()));
  for (RegionId id = 0; id < 100; ++id) ASSERT_TRUE(put(lane_, from, {id, 0, k_page}));
  ASSERT_TRUE(write_all(*lane_.source, "x"));
  reader.join();
  for (RegionId id = 0; id < 100; ++id) {
    EXPECT_TRUE(same_bytes(from.region(id), to.region(id)));
  }
}

TEST_P(RdmaPlacedPages, CannotBeRead) {
  connect();
  if (IsSkipped()) return;
  std::vector<std::byte> room(k_page);
  EXPECT_EQ(code_of(io(lane_).get({0, 0, k_page}, room)), Errc::unsupported);
}

TEST_P(RdmaPlacedPages, NeedMemoryThatIsMapped) {
  connect();
  if (IsSkipped()) return;
  MemoryRegion region;
  region.name = "ram";
  region.length = k_page;
  region.fd = 0;
  const auto memory = GuestMemory::create({region});
  ASSERT_TRUE(memory);
  EXPECT_EQ(code_of(target(lane_).admit(*memory)), Errc::unsupported);
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

TEST_P(RdmaPlacedPages, OverManyLanesOneAfterTheOtherLeaveNothingBehind) {
  connect();
  if (IsSkipped()) return;
  const RdmaGuest guest({64 * k_page}, 11);
  const auto use = [&] {
    RdmaEnds lane = connected();
    ASSERT_TRUE(io(lane).attach(guest.memory()));
    ASSERT_TRUE(target(lane).admit(guest.memory()));
    ASSERT_TRUE(put(lane, guest, {0, 0, k_page}));
    expect_a_byte_passes(lane);
  };
  use();
  const std::size_t descriptors = open_descriptors();
  const std::uint64_t pinned = lock_limit().pinned;
  for (int round = 0; round < 100; ++round) use();
  EXPECT_EQ(open_descriptors(), descriptors);
  EXPECT_EQ(lock_limit().pinned, pinned);
}

/// What is asked for is served by whoever reads: two lanes, and memory of four times the bound.
TEST_P(RdmaPlacedPages, ArriveThoughLittleMayBePinned) {
  connect({.most_pinned = k_mib});
  if (IsSkipped()) return;
  const RdmaGuest from({3 * k_mib, k_mib + 700}, 8);
  const RdmaGuest to({3 * k_mib, k_mib + 700});
  std::vector<RdmaEnds> lanes;
  lanes.push_back(std::move(lane_));
  lanes.push_back(connected());
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    ASSERT_TRUE(io(lanes[i]).attach(from.memory()));
    ASSERT_TRUE(target(lanes[i]).admit(to.memory()));
    threads.emplace_back([&, i] {  // odd pieces of the first region here, even ones there
      for (std::size_t at = i * 50 * k_page; at < 3 * k_mib; at += 100 * k_page) {
        const std::size_t length = std::min(50 * k_page, 3 * k_mib - at);
        const auto done = put(lanes[i], from, {0, at, length});
        ASSERT_TRUE(done) << text_of(done);
      }
      if (i == 1) {
        ASSERT_TRUE(put(lanes[i], from, {1, 0, k_mib + 700}));
      }
      ASSERT_TRUE(io(lanes[i]).flush());
      ASSERT_TRUE(lanes[i].source->finish());
    });
    threads.emplace_back([&, i] { EXPECT_TRUE(drain(*lanes[i].target)); });
  }
  threads.clear();
  EXPECT_TRUE(same_bytes(from.region(0), to.region(0)));
  EXPECT_TRUE(same_bytes(from.region(1), to.region(1)));
  if (GetParam() == Device::none) {
    EXPECT_LE(pair_->fabric().bytes_for_peers(), k_mib);
    for (RdmaEnds& lane : lanes) target(lane).withdraw();
    EXPECT_EQ(pair_->fabric().bytes_for_peers(), 0u);
  }
}

/// What cannot be seen of a device.
class RdmaPinning : public testing::Test {
 protected:
  RdmaPair pair_{Device::none};
  Fabric& fabric_ = pair_.fabric();
};

TEST_F(RdmaPinning, IsDoneOnceForAllLanesAndUndoneWithTheLast) {
  const RdmaGuest guest({k_mib, k_mib});
  auto one = pair_.connect();
  auto other = pair_.connect();
  ASSERT_TRUE(one && other);
  ASSERT_TRUE(one->target->facets().placed_target->admit(guest.memory()));
  ASSERT_TRUE(other->target->facets().placed_target->admit(guest.memory()));
  EXPECT_EQ(fabric_.bytes_for_peers(), 2 * k_mib);
  one->target->facets().placed_target->withdraw();
  EXPECT_EQ(fabric_.bytes_for_peers(), 2 * k_mib);
  other->target.reset();
  EXPECT_EQ(fabric_.bytes_for_peers(), 0u);
}

TEST_F(RdmaPinning, OfALaneThatHasWithdrawnIsOfNoUseToItsPeerThoughAnotherHasNot) {
  const RdmaGuest from({k_page}, 9);
  const RdmaGuest to({k_page});
  auto one = pair_.connect();
  auto other = pair_.connect();
  ASSERT_TRUE(one && other);
  PlacedIo& io = *one->source->facets().placed_io;
  ASSERT_TRUE(io.attach(from.memory()));
  ASSERT_TRUE(one->target->facets().placed_target->admit(to.memory()));
  ASSERT_TRUE(other->target->facets().placed_target->admit(to.memory()));
  one->target->facets().placed_target->withdraw();
  ASSERT_TRUE(io.put({0, 0, k_page}, from.region(0)));
  EXPECT_EQ(code_of(io.flush()), Errc::disconnected);
}

TEST_F(RdmaPinning, ThatFailsHalfWayLeavesNothingPinned) {
  const RdmaGuest guest({k_mib, k_mib, k_mib});
  auto lane = pair_.connect();
  ASSERT_TRUE(lane);
  int calls = 0;
  fabric_.set_faults(
      {.on_register = [&](std::span<std::byte>, DeviceMay) { return ++calls == 3 ? ENOMEM : 0; }});
  const auto admitted = lane->target->facets().placed_target->admit(guest.memory());
  EXPECT_EQ(code_of(admitted), Errc::system);
  EXPECT_TRUE(text_of(admitted).contains("let rdma://127.0.0.1")) << text_of(admitted);
  EXPECT_EQ(fabric_.bytes_for_peers(), 0u);
  calls = 0;
  const auto attached = lane->source->facets().placed_io->attach(guest.memory());
  EXPECT_EQ(code_of(attached), Errc::system);
}

TEST_F(RdmaPinning, AheadOfTheLanesLetsNobodyInAndServesThemAll) {
  const RdmaGuest from({k_mib}, 14);
  const RdmaGuest to({k_mib});
  auto control = pair_.connect();
  auto lane = pair_.connect();
  ASSERT_TRUE(control && lane);
  PlacedTarget& ahead = *control->target->facets().placed_target;
  ASSERT_TRUE(ahead.pin(to.memory(), {}));
  EXPECT_EQ(fabric_.bytes_for_peers(), k_mib);
  fabric_.set_faults({.on_register = [](std::span<std::byte>, DeviceMay may) {
    return may == DeviceMay::let_peers_write ? ENOMEM : 0;  // nothing of it is left to be done
  }});
  ASSERT_TRUE(lane->target->facets().placed_target->admit(to.memory()));

  PlacedIo& io = *control->source->facets().placed_io;
  ASSERT_TRUE(io.attach(from.memory()));
  std::optional<Result<void>> done;
  BlockedThread writer([&] { done = io.put({0, 0, k_page}, from.at({0, 0, k_page})); });
  writer.wait_until_asleep();
  control->source->cancel();
  writer.join();
  EXPECT_EQ(code_of(*done), Errc::cancelled) << "it was never admitted";
  lane->target->facets().placed_target->withdraw();
  EXPECT_EQ(fabric_.bytes_for_peers(), k_mib);
  ahead.withdraw();
  EXPECT_EQ(fabric_.bytes_for_peers(), 0u);
}

/// As soft RoCE does, which writes the pages in the thread that asks for it.
TEST_F(RdmaPinning, ADeviceThatWorksWhileItIsToldDoesNotHoldUpTheLane) {
  const RdmaGuest from({8 * k_page}, 15);
  const RdmaGuest to({8 * k_page});
  auto lane = pair_.connect();
  ASSERT_TRUE(lane);
  PlacedIo& io = *lane->source->facets().placed_io;
  ASSERT_TRUE(io.attach(from.memory()));
  ASSERT_TRUE(lane->target->facets().placed_target->admit(to.memory()));
  const std::thread::id here = std::this_thread::get_id();
  std::atomic<bool> may_end = false;
  fabric_.set_faults({.on_post = [&] {
    if (std::this_thread::get_id() == here) {
      work_for(std::chrono::milliseconds(1));
    } else {
      may_end.wait(false);
    }
    return 0;
  }});
  ASSERT_TRUE(io.put({0, 0, k_page}, from.at({0, 0, k_page})));
  // From here on every post takes until may_end, and this would never get there.
  for (std::size_t page = 1; page < 8; ++page) {
    ASSERT_TRUE(io.put({0, page * k_page, k_page}, from.at({0, page * k_page, k_page})));
  }
  ASSERT_TRUE(write_all(*lane->source, "x"));
  EXPECT_TRUE(same_bytes(to.at({0, k_page, k_page}), std::vector<std::byte>(k_page)));
  may_end = true;
  may_end.notify_all();
  EXPECT_EQ(read_all(*lane->target, 1), "x");
  EXPECT_TRUE(same_bytes(from.region(0), to.region(0))) << "in their order";
  EXPECT_TRUE(io.flush());
}

TEST_F(RdmaPinning, GoesWithTheChannels) {
  const RdmaGuest guest({k_mib});
  {
    auto lane = pair_.connect();
    ASSERT_TRUE(lane);
    ASSERT_TRUE(lane->source->facets().placed_io->attach(guest.memory()));
    ASSERT_TRUE(lane->target->facets().placed_target->admit(guest.memory()));
    EXPECT_GT(fabric_.registered_bytes(), 2 * k_mib);
  }
  EXPECT_EQ(fabric_.registered_bytes(), 0u);
}

TEST_F(RdmaPinning, OfChunksThatFailsEndsTheLane) {
  RdmaPair bounded(Device::none, {.most_pinned = k_mib});
  const RdmaGuest from({4 * k_mib}, 10);
  const RdmaGuest to({4 * k_mib});
  auto lane = bounded.connect();
  ASSERT_TRUE(lane);
  PlacedIo& io = *lane->source->facets().placed_io;
  ASSERT_TRUE(io.attach(from.memory()));
  ASSERT_TRUE(lane->target->facets().placed_target->admit(to.memory()));
  bounded.fabric().set_faults({.on_register = [](std::span<std::byte>, DeviceMay may) {
    return may == DeviceMay::let_peers_write ? ENOMEM : 0;
  }});
  std::jthread reader([&] { EXPECT_EQ(code_of(drain(*lane->target)), Errc::system); });
  EXPECT_EQ(code_of(io.put({0, 0, k_page}, from.at({0, 0, k_page}))), Errc::disconnected);
}

}  // namespace
}  // namespace ferry::test
