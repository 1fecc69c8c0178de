// Device state on its way: gigabytes no more than a pipe full of them in memory, damage found, and
// peers that say what no source says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/checksum.h"
#include "channels/buffer.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/peer.h"
#include "tests/session/scripted_source.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;

std::vector<std::byte> some_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
  return bytes;
}

TEST(StateTransfer, GivesEverySectionInItsOrder) {
  const auto runtime = runtime_of_all_transports();
  const auto large = some_bytes(40'000'000);  // more than the spool keeps in memory
  for (const bool solo : {false, true}) {
    MemorySource from(layout_of({3 * k_unit_bytes}));
    MemoryDestination to;
    from.on_save = [&](StateWriter& out) -> Result<void> {
      out.section("vcpu0", 2).u64(0x1234).string("running");
      out.section("framebuffer").bytes(large);
      out.section("empty", 9);
      return {};
    };
    std::vector<std::string> loaded;
    to.on_load = [&](StateReader& in) -> Result<void> {
      EXPECT_TRUE(identical(from, to)) << "all memory is there when devices load";
      EXPECT_EQ(to.prepares() + to.starts(), 0u);
      while (const auto section = FERRY_TRY(in.next())) {
        loaded.push_back(section->name + " " + std::to_string(section->version));
        if (section->name == "vcpu0") {
          EXPECT_EQ(FERRY_TRY(in.u64()), 0x1234u);
          EXPECT_EQ(FERRY_TRY(in.string()), "running");
        } else if (section->name == "framebuffer") {
          std::vector<std::byte> read(section->length);
          FERRY_TRY(in.bytes(read));
          EXPECT_TRUE(read == large);
        }
      }
      return {};
    };
    Ended ended;
    if (solo) {
      auto [ours, theirs] = make_buffer_pair();
      ended = migrate_over(*runtime, from, to, std::move(ours), std::move(theirs), {});
    } else {
      ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", {});
    }
    ASSERT_TRUE(ended.sent.ok()) << why_not(ended.sent);
    ASSERT_TRUE(ended.received.ok()) << why_not(ended.received);
    EXPECT_THAT(loaded, testing::ElementsAre("vcpu0 2", "framebuffer 1", "empty 9"));
    EXPECT_EQ(ended.received.report.state_sections, 3u);
    EXPECT_EQ(ended.received.report.state_bytes, ended.sent.report.state_bytes);
  }
}

/// The guest stays, and both sides know why.
void expect_refused(const Ended& ended, const MemorySource& from, const MemoryDestination& to,
                    const std::string& why) {
  EXPECT_FALSE(ended.sent.ok());
  EXPECT_FALSE(ended.received.ok());
  EXPECT_EQ(ended.sent.owner, Owner::source);
  EXPECT_THAT(why_not(ended.sent), HasSubstr(why));
  EXPECT_THAT(why_not(ended.received), HasSubstr(why));
  EXPECT_TRUE(from.runs());
  EXPECT_EQ(to.starts(), 0u);
}

Ended migrate_with(Result<void> (*load)(StateReader&), MemorySource& from, MemoryDestination& to) {
  const auto runtime = runtime_of_all_transports();
  from.on_save = [](StateWriter& out) -> Result<void> {
    out.section("nic", 3).u32(1).u16(2);
    out.section("disk").u8(1);
    return {};
  };
  if (load != nullptr) to.on_load = load;
  return migrate(*runtime, from, to, "tcp://127.0.0.1:0", {});
}

TEST(StateTransfer, OfAGuestWhoseDestinationTakesNoneLeavesItWhereItIs) {
  MemorySource from(layout_of({k_unit_bytes}));
  MemoryDestination to;
  const Ended ended = migrate_with(nullptr, from, to);
  expect_refused(ended, from, to, "load device state 'nic': this guest takes none");
}

TEST(StateTransfer, ThatIsMisreadLeavesTheGuestWhereItIs) {
  MemorySource from(layout_of({k_unit_bytes}));
  MemoryDestination to;
  const Ended ended = migrate_with(
      [](StateReader& in) -> Result<void> {
        (void)FERRY_TRY(in.next());
        (void)FERRY_TRY(in.u64());
        return {};
      },
      from, to);
  expect_refused(ended, from, to,
                 "load device state 'nic' (version 3) at offset 0 of 6: 8 bytes wanted, 6 left");
}

TEST(StateTransfer, ThatIsNotReadToItsEndLeavesTheGuestWhereItIs) {
  MemorySource from(layout_of({k_unit_bytes}));
  MemoryDestination to;
  const Ended ended = migrate_with(
      [](StateReader& in) -> Result<void> {
        (void)FERRY_TRY(in.next());
        in.skip();
        return {};
      },
      from, to);
  expect_refused(ended, from, to, "load device state 'disk': the guest did not read it");
}

TEST(StateTransfer, BeyondWhatADestinationTakesIsRefused) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({k_unit_bytes}));
  MemoryDestination to;
  from.on_save = [](StateWriter& out) -> Result<void> {
    out.section("much").bytes(some_bytes(1'000'000));
    return {};
  };
  ReceiveOptions options;
  options.max_state_bytes = 999'999;
  Receiving receiving(*runtime, to, "tcp://127.0.0.1:0", options);
  Ended ended;
  ended.sent = send(*runtime, from, receiving.uri(), {});
  ended.received = receiving.outcome();
  expect_refused(ended, from, to, "more than 999999 bytes");
}

TEST(StateTransfer, IsRefusedToAReceiverOfAnEarlierVersion) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({k_unit_bytes}));
  from.on_save = [](StateWriter& out) -> Result<void> {
    out.section("vcpu0");
    return {};
  };
  Door door;
  SendOptions options;
  options.channels = 1;
  Call sent = sending(*runtime, from, door.uri(), options);
  auto [hello, control, page] = door.accept_source(0);
  control.say(wire::RoundAck{.round = 0});
  EXPECT_EQ(control.hear<wire::Abort>().code, Errc::refused);
  control.finish();
  const Outcome outcome = sent.outcome();
  EXPECT_EQ(outcome.why_not.value().code, Errc::refused);
  EXPECT_THAT(why_not(outcome), HasSubstr("of a version that takes none"));
  EXPECT_TRUE(from.runs());
}

/// A source that says these frames where device state goes, and then PREPARE.
class OddSource : public testing::Test {
 protected:
  Outcome says(const std::vector<wire::ControlFrame>& frames) {
    const auto runtime = runtime_of_all_transports();
    to_.on_load = [](StateReader& in) -> Result<void> {
      while (FERRY_TRY(in.next())) in.skip();
      return {};
    };
    Receiving receiving(*runtime, to_);
    ScriptedSource source(*runtime, receiving.uri());
    const Mappings memory(layout_of({k_unit_bytes}));
    source.open(memory.memory().layout());
    source.send_all(memory);
    for (const wire::ControlFrame& frame : frames) source.control().say(frame);
    source.control().say(wire::Prepare{source.transcript(), {}});
    const auto answer = source.control().hear_any();
    EXPECT_TRUE(answer && std::holds_alternative<wire::Abort>(*answer));
    source.control().finish();
    return receiving.outcome();
  }
  MemoryDestination to_;
};

TEST_F(OddSource, IsRefused) {
  const std::vector<std::byte> piece = some_bytes(10);
  const wire::StateSectionFrame begin{"a", 1};
  const std::vector<std::vector<wire::ControlFrame>> odd = {
      {begin},                                                    // no end
      {wire::StatePiece{piece}},                                  // no section
      {wire::StateEnd{}},                                         // nor here
      {begin, begin},                                             // one within the other
      {begin, wire::StateEnd{}, begin, wire::StateEnd{}},         // twice
      {begin, wire::StatePiece{piece}, wire::StatePiece{piece}},  // short, and goes on
  };
  for (const auto& frames : odd) {
    const Outcome outcome = says(frames);
    EXPECT_EQ(outcome.why_not.value().code, Errc::protocol) << why_not(outcome);
    EXPECT_EQ(to_.starts(), 0u);
  }
}

TEST_F(OddSource, WhoseChecksumDiffersIsFoundOut) {
  const Outcome outcome = says({wire::StateSectionFrame{"a", 1}, wire::StatePiece{some_bytes(10)},
                                wire::StateEnd{.length = 10, .checksum = 1}});
  EXPECT_EQ(outcome.why_not.value().code, Errc::integrity);
  EXPECT_THAT(why_not(outcome), HasSubstr("receive device state 'a'"));
}

}  // namespace
}  // namespace ferry::test
