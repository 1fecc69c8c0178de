// Pages that are put straight into the receiver's memory, and only told of.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "tests/channels/io.h"
#include "tests/multifd/receiving_memory.h"
#include "tests/multifd/transfer.h"
#include "tests/same_bytes.h"

namespace ferry::test {
namespace {

// More than one packet, staged or not, and a partial tail.
constexpr std::uint64_t k_placed_bytes = 700 * k_unit_bytes + 123;

Transfer::Options over_placing_lines(PlacingOptions placing = {}, Motion motion = Motion::still) {
  return {
      .lanes = 2, .line = Transfer::Line::placing, .motion = motion, .placing = std::move(placing)};
}

void expect_identical(Transfer& transfer, const TestMemory& from, const TestMemory& to) {
  ASSERT_TRUE(transfer.receiver().freeze());
  EXPECT_EQ(transfer.receiver().transcript(), transfer.sender().transcript());
  EXPECT_TRUE(transfer.receiver().complete());
  EXPECT_TRUE(same_bytes(to.content(), from.content()));
}

struct Kind {
  const char* name;
  Reach from;
  Landing landing;
  Pinning pinning;
};

class PlacedPages : public ::testing::TestWithParam<Kind> {
 protected:
  PlacingOptions placing(std::vector<std::uint64_t> flips = {}) const {
    return {.landing = GetParam().landing, .pinning = GetParam().pinning, .flips = flips};
  }
};

constexpr Kind k_in_place{"InPlace", Reach::mapping, Landing::at_once, Pinning::all};
constexpr Kind k_late{"InPlaceLate", Reach::mapping, Landing::with_the_next_bytes, Pinning::all};
constexpr Kind k_copied{"Copied", Reach::mapping, Landing::with_the_next_bytes,
                        Pinning::staging_alone};
constexpr Kind k_from_a_file{"FromAFile", Reach::descriptor, Landing::with_the_next_bytes,
                             Pinning::staging_alone};
constexpr auto k_name = [](const auto& instance) { return instance.param.name; };

INSTANTIATE_TEST_SUITE_P(All, PlacedPages,
                         ::testing::Values(k_in_place, k_late, k_copied, k_from_a_file), k_name);

using PlacedPagesOfAGuest = PlacedPages;
INSTANTIATE_TEST_SUITE_P(All, PlacedPagesOfAGuest, ::testing::Values(k_in_place, k_late, k_copied),
                         k_name);

TEST_P(PlacedPages, AreWhatWasThereInEveryRound) {
  TestMemory from(GetParam().from, {k_placed_bytes, 1, 0});
  TestMemory to(Reach::mapping, {k_placed_bytes, 1, 0});
  Transfer transfer(from.memory(), to.memory(), over_placing_lines(placing()));
  unsigned seed = 1;
  for (const Picture picture : {Picture::noise, Picture::mixed, Picture::zeros, Picture::stripes}) {
    paint(from, picture, seed++);
    const auto suspects = transfer.round(std::vector<PageRun>{{0, 0, k_placed_bytes}, {1, 0, 1}});
    ASSERT_TRUE(suspects) << text_of(suspects);
    ASSERT_TRUE(same_bytes(to.content(), from.content())) << "after round " << seed - 2;
  }
  expect_identical(transfer, from, to);
}

TEST_P(PlacedPages, AreAccountedFor) {
  TestMemory from(GetParam().from, {k_placed_bytes});
  TestMemory to(Reach::mapping, {k_placed_bytes});
  paint(from, Picture::noise, 3);
  unsigned told = 0;
  Transfer::Options options = over_placing_lines(placing());
  options.copying_lanes = &told;
  Transfer transfer(from.memory(), to.memory(), options);
  ASSERT_TRUE(transfer.round(from.runs()));

  const PageSender::Totals sent = transfer.sender().totals();
  EXPECT_EQ(sent.placed_bytes, k_placed_bytes);
  EXPECT_GT(sent.wire_bytes, sent.placed_bytes) << "headers go over the line";
  EXPECT_EQ(transfer.receiver().totals().placed_bytes, k_placed_bytes);
  EXPECT_EQ(transfer.receiver().totals().wire_bytes, sent.wire_bytes);
  std::uint64_t of_lanes = 0;
  for (const LaneReport& lane : transfer.sender().lane_reports()) of_lanes += lane.placed_bytes;
  EXPECT_EQ(of_lanes, k_placed_bytes);
  const bool copied =
      GetParam().from == Reach::mapping && GetParam().pinning == Pinning::staging_alone;
  EXPECT_EQ(told, copied ? 2u : 0u) << "each lane says so";
  EXPECT_EQ(sent.zero_copy_fallbacks > 0, copied);
}

TEST_P(PlacedPages, ThatAreDamagedOnTheirWayArePlacedAgain) {
  TestMemory from(GetParam().from, {k_placed_bytes});
  TestMemory to(Reach::mapping, {k_placed_bytes});
  paint(from, Picture::noise, 4);
  // Of what each lane puts: in its first packet, and where a page's resend may be.
  Transfer transfer(from.memory(), to.memory(),
                    over_placing_lines(placing({5 * k_unit_bytes + 7, 6 * k_unit_bytes})));
  const auto suspects = transfer.round(from.runs());
  ASSERT_TRUE(suspects) << text_of(suspects);
  EXPECT_TRUE(suspects->empty()) << "damage is no suspect";
  EXPECT_GE(transfer.sender().totals().resent_units, 2u);
  EXPECT_EQ(transfer.sender().totals().resent_units, transfer.receiver().totals().resent_units);
  expect_identical(transfer, from, to);
}

TEST_P(PlacedPages, OfAGuestThatRunsAreDamagedOnlyWhereTheyWereCopied) {
  TestMemory from(GetParam().from, {k_placed_bytes});
  TestMemory to(Reach::mapping, {k_placed_bytes});
  paint(from, Picture::noise, 5);
  Transfer::Options options = over_placing_lines(placing({9 * k_unit_bytes}), Motion::running);
  options.lanes = 1;
  Transfer transfer(from.memory(), to.memory(), options);
  const auto suspects = transfer.round(from.runs());
  ASSERT_TRUE(suspects) << text_of(suspects);
  const bool live = GetParam().from == Reach::mapping && GetParam().pinning == Pinning::all;
  EXPECT_EQ(suspects->size(), live ? 1u : 0u);
  EXPECT_EQ(transfer.sender().totals().resent_units, live ? 0u : 1u);
  if (live) {
    ASSERT_TRUE(transfer.round(*suspects));
  }
  expect_identical(transfer, from, to);
}

TEST(PlacedPagesOfALine, ThatDamagesEveryResendAreAnIntegrityError) {
  TestMemory from(Reach::mapping, {16 * k_unit_bytes});
  TestMemory to(Reach::mapping, {16 * k_unit_bytes});
  paint(from, Picture::noise, 6);
  std::vector<std::uint64_t> flips = {100};
  for (std::uint64_t resend = 0; resend < 3; ++resend) flips.push_back((16 + resend) * 4096 + 9);
  Transfer::Options options = over_placing_lines({.flips = flips});
  options.lanes = 1;
  Transfer transfer(from.memory(), to.memory(), options);
  EXPECT_EQ(code_of(transfer.round(from.runs())), Errc::integrity);
}

/// Another process that writes to one page, all over it, as fast as it can.
class TightLoop {
 public:
  explicit TightLoop(std::byte* page) : hold_(map_flag()), held_(map_flag()) {
    child_ = ::fork();
    if (child_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    auto* const words = reinterpret_cast<std::uint64_t*>(page);
    for (std::uint64_t number = 1;; ++number) {
      while (hold_->load()) {
        held_->store(1);
        ::sched_yield();
      }
      held_->store(0);
      for (std::size_t i = 0; i < k_unit_bytes / 8; i += 8) words[i] = number;
    }
  }
  ~TightLoop() {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  /// It writes no more when this returns.
  void pause() {
    held_->store(0);
    hold_->store(1);
    while (held_->load() == 0) ::sched_yield();
  }

 private:
  static std::atomic<int>* map_flag() {
    void* const at =
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    return new (at) std::atomic<int>(0);
  }

  std::atomic<int>* hold_;
  std::atomic<int>* held_;
  pid_t child_ = -1;
};

TEST_P(PlacedPagesOfAGuest, ThatAreWrittenInATightLoopAreSuspectsOrCopiesAndGoodInTheEnd) {
  constexpr std::uint64_t k_ram = 64 * k_unit_bytes;
  auto* const ram = static_cast<std::byte*>(
      ::mmap(nullptr, k_ram, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(ram, MAP_FAILED);
  std::ranges::copy(noise_bytes(k_ram, 8), ram);
  const GuestMemory from =
      GuestMemory::create({{.name = "ram0", .length = k_ram, .host = ram}}).value();
  TestMemory to(Reach::mapping, {k_ram});
  {
    TightLoop guest(ram + 33 * k_unit_bytes);
    Transfer running(from, to.memory(), over_placing_lines(placing(), Motion::running));
    std::vector<PageRun> runs = {units(0, 64)};
    std::uint64_t suspected = 0;
    for (int round = 0; round < 200; ++round) {
      const auto suspects = running.round(runs);
      ASSERT_TRUE(suspects) << text_of(suspects);
      for (const PageRun& run : *suspects) EXPECT_EQ(run, units(33, 1));
      suspected += suspects->size();
      runs = {units(33, 1)};
    }
    EXPECT_EQ(running.sender().totals().resent_units, 0u) << "it was changed, not damaged";
    EXPECT_EQ(running.receiver().totals().suspect_units, suspected);
    if (GetParam().pinning == Pinning::staging_alone) {
      EXPECT_EQ(suspected, 0u);
    }

    // The last pass of a guest that stands still.
    guest.pause();
    running.stand_still();
    const auto none = running.round(std::vector{units(33, 1)});
    ASSERT_TRUE(none) << text_of(none);
    EXPECT_TRUE(none->empty());
    ASSERT_TRUE(running.receiver().freeze());
    EXPECT_TRUE(running.receiver().complete());
    EXPECT_TRUE(same_bytes(to.read(units(0, 64)), std::span(ram, k_ram)));
  }
  ::munmap(ram, k_ram);
}

TEST(PlacedPagesOfALine, NeedMemoryThatIsMapped) {
  TestMemory from(Reach::mapping, {k_placed_bytes});
  TestMemory to(Reach::descriptor, {k_placed_bytes});
  Transfer transfer(from.memory(), to.memory(), over_placing_lines());
  EXPECT_EQ(code_of(transfer.round(from.runs())), Errc::unsupported);
}

// The right to write.

class PlacingSource : public ::testing::Test {
 protected:
  Error refused(const CraftedPacket& packet, Carried carried) {
    FedReceiver fed(memory_.memory(), 1, carried);
    fed.send_bytes(packet.header_bytes());
    return fed.failure();
  }
  TestMemory memory_{Reach::mapping, k_lengths};
};

TEST_F(PlacingSource, WhoWritesAfterTheRightWasTakenBackFailsAndChangesNothing) {
  FedReceiver fed(memory_.memory(), 1, Carried::placed);
  fed.send(CraftedPacket(0).data(units(0, 1), noise(1)).zeros(units(1, 15)));
  fed.send(end_of_round(1));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));
  fed.receiver().withdraw();
  fed.receiver().withdraw();
  const auto before = memory_.content();
  const auto late = fed.put(units(0, 4), noise(4));
  EXPECT_EQ(code_of(late), Errc::disconnected) << text_of(late);
  EXPECT_TRUE(same_bytes(memory_.content(), before));
  EXPECT_FALSE(fed.put(units(2, 1), noise(1))) << "a failure is final";
}

TEST_F(PlacingSource, WhoWritesBeyondTheMemoryFailsAndChangesNothing) {
  for (const PageRun& outside : {units(16, 1), units(15, 2), units(0, 1, 2), units(4, 1, 1)}) {
    FedReceiver fed(memory_.memory(), 1, Carried::placed);
    EXPECT_FALSE(fed.put(outside, noise(outside.length / k_unit_bytes)));
    EXPECT_TRUE(memory_.content() == TestMemory(Reach::mapping, k_lengths).content());
  }
}

TEST_F(PlacingSource, WhoSaysPlacedOnALineThatPlacesNothingIsRefused) {
  const Error error =
      refused(CraftedPacket(0).data(units(0, 1), noise(1)).placed(), Carried::streamed);
  EXPECT_EQ(error.code, Errc::protocol);
  EXPECT_EQ(error.text(), "packet 0 on channel 0: it was placed, where nobody was let to");
}

TEST_F(PlacingSource, WhoTellsOfPagesBeyondTheMemoryIsRefused) {
  for (const PageRun& outside : {units(16, 1), units(15, 2), units(0, 1, 2), units(4, 1, 1)}) {
    const Bytes bytes = noise_bytes(outside.length, 2);
    EXPECT_EQ(refused(CraftedPacket(0).data(outside, bytes).placed(), Carried::placed).code,
              Errc::protocol);
  }
}

TEST_F(PlacingSource, WhoTellsOfPagesThatItNeverPutIsAskedForThem) {
  FedReceiver fed(memory_.memory(), 1, Carried::placed);
  fed.send_bytes(CraftedPacket(0).data(units(3, 2), noise(2)).placed().header_bytes());
  EXPECT_EQ(fed.answer(),
            wire::ControlFrame(wire::Nak{.lane = 0, .sequence = 0, .runs = {units(3, 2)}}));
  EXPECT_EQ(fed.receiver().units_received(), 0u);
}

TEST_F(PlacingSource, WhoSendsThePayloadAsWellIsRefused) {
  FedReceiver fed(memory_.memory(), 1, Carried::placed);
  CraftedPacket packet(0);
  packet.data(units(0, 1), noise(1)).placed();
  ASSERT_TRUE(fed.put(units(0, 1), noise(1)));
  fed.send_bytes(packet.bytes());
  EXPECT_EQ(fed.failure().code, Errc::protocol) << "what follows is no message";
}

TEST_F(PlacingSource, MayStreamOverALineThatPlaces) {
  FedReceiver fed(memory_.memory(), 1, Carried::placed);
  fed.send_bytes(CraftedPacket(0).data(units(0, 2), noise(2)).bytes());
  fed.send(end_of_round(1));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));
  EXPECT_EQ(memory_.read(units(0, 2)), copy_of(noise(2)));
  EXPECT_EQ(fed.receiver().totals().placed_bytes, 0u);
}

TEST_F(PlacingSource, MayTellZerosOfWhatItHasPlacedBefore) {
  FedReceiver fed(memory_.memory(), 1, Carried::placed);
  fed.send(CraftedPacket(0).data(units(0, 3), noise(3)));
  fed.send(end_of_round(1));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));
  fed.send(CraftedPacket(2, 1).zeros(units(1, 1)));
  fed.send(end_of_round(3, 1));
  EXPECT_EQ(fed.answer(), wire::ControlFrame(wire::RoundAck{.round = 1}));
  EXPECT_EQ(memory_.read(units(1, 1)), Bytes(k_unit_bytes));
  EXPECT_EQ(memory_.read(units(2, 1)), copy_of(noise(3).subspan(2 * k_unit_bytes)));
}

}  // namespace
}  // namespace ferry::test
