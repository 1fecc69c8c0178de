// Sections of device state that are too large for the control channel: whole and in their order
// over every kind of session, and refused where no source would have sent them so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "channels/buffer.h"
#include "channels/faulty.h"
#include "channels/tcp.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/peer.h"
#include "tests/session/placing_transport.h"
#include "tests/session/scripted_source.h"
#include "tests/session/wrapped_lines.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;

/// How a session comes about.
struct SessionKind {
  std::string name;
  std::string uri;  // empty: over one duplex channel
  unsigned lanes = 1;
};

class StateOnLanes : public testing::TestWithParam<SessionKind> {
 protected:
  void SetUp() override {
    runtime_->add(make_placing_transport());
    const std::string scheme = GetParam().uri.substr(0, GetParam().uri.find(':'));
    if (!scheme.empty() && !runtime_->transport(scheme)) GTEST_SKIP() << "built without " << scheme;
  }
  Ended migrate_guest() {
    if (GetParam().uri.empty()) {
      auto [ours, theirs] = make_buffer_pair();
      return migrate_over(*runtime_, from_, to_, std::move(ours), std::move(theirs), {});
    }
    SendOptions options;
    options.channels = GetParam().lanes;
    return migrate(*runtime_, from_, to_, GetParam().uri, options);
  }

  std::unique_ptr<Runtime> runtime_ = runtime_of_all_transports();
  MemorySource from_{layout_of({40 * k_unit_bytes})};
  MemoryDestination to_;
};

INSTANTIATE_TEST_SUITE_P(Over, StateOnLanes,
                         testing::Values(SessionKind{"OneLane", "tcp://127.0.0.1:0", 1},
                                         SessionKind{"TwoLanes", "tcp://127.0.0.1:0", 2},
                                         SessionKind{"OneChannelForAll", ""},
                                         SessionKind{"TwoEncryptedLanes", "tls://127.0.0.1:0", 2},
                                         SessionKind{"LanesThatPlace", "placing://127.0.0.1:0", 2}),
                         [](const auto& way) { return way.param.name; });

TEST_P(StateOnLanes, IsWholeAndInItsOrder) {
  const std::map<std::string, std::vector<std::byte>> written = {
      {"vcpu0", counting(8)},
      {"accelerator", counting(64 * k_mib + 4097)},
      {"little", counting(k_mib)},
      {"nic", counting(k_mib + 1)},
      {"last", counting(16)}};
  const std::vector<std::string> order = {"vcpu0", "accelerator", "little", "nic", "last"};
  from_.on_save = [&](StateWriter& out) -> Result<void> {
    for (const std::string& name : order) out.section(name).bytes(written.at(name));
    from_.write(0, 1, std::byte{0x55});  // so that a round of pages goes with it
    return {};
  };
  std::vector<std::string> loaded;
  to_.on_load = [&](StateReader& in) -> Result<void> {
    EXPECT_TRUE(identical(from_, to_));
    while (const auto section = FERRY_TRY(in.next())) {
      loaded.push_back(section->name);
      std::vector<std::byte> read(section->length);
      FERRY_TRY(in.bytes(read));
      EXPECT_TRUE(read == written.at(section->name)) << section->name;
    }
    return {};
  };
  const Ended ended = migrate_guest();
  ASSERT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  ASSERT_TRUE(ended.received.ok()) << why_not(ended.received);
  EXPECT_TRUE(identical(from_, to_));
  EXPECT_EQ(loaded, order);
  EXPECT_EQ(ended.received.report.state_bytes, ended.sent.report.state_bytes);
  EXPECT_EQ(ended.received.report.state_sections, 5u);
  EXPECT_GT(ended.sent.report.wire_bytes, 63 * k_mib) << "on page channels";
  EXPECT_EQ(ended.sent.report.wire_bytes, ended.received.report.wire_bytes);
}

TEST_P(StateOnLanes, NeedsNoPagesToGoWithIt) {
  const auto large = counting(3 * k_mib);
  give_and_expect(from_, to_, large);
  const Ended ended = migrate_guest();
  EXPECT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  EXPECT_TRUE(ended.received.ok()) << why_not(ended.received);
}

TEST_P(StateOnLanes, ThatIsMisreadIsToldBySectionAndOffset) {
  from_.on_save = [&](StateWriter& out) -> Result<void> {
    out.section("nic").u8(1);
    out.section("accelerator", 7).bytes(counting(3 * k_mib));
    return {};
  };
  to_.on_load = [&](StateReader& in) -> Result<void> {
    FERRY_TRY(in.next());
    in.skip();
    FERRY_TRY(in.next());
    while (in.offset() < 2 * k_mib) FERRY_TRY(in.some());
    FERRY_TRY(in.string());  // a length of 2 MiB
    return {};
  };
  const Ended ended = migrate_guest();
  EXPECT_EQ(ended.sent.owner, Owner::source);
  EXPECT_THAT(why_not(ended.sent),
              HasSubstr("load device state 'accelerator' (version 7) at offset 2097152 of 3145728: "
                        "a string of 2097152 bytes"));
  EXPECT_TRUE(from_.runs());
}

TEST(StateOnLanes, BeyondWhatADestinationTakesIsRefusedByTheNameOfItsSection) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({k_unit_bytes}));
  MemoryDestination to;
  from.on_save = [&](StateWriter& out) -> Result<void> {
    out.section("accelerator").bytes(counting(8 * k_mib));
    return {};
  };
  ReceiveOptions options;
  options.max_state_bytes = 3 * k_mib;
  Receiving receiving(*runtime, to, "tcp://127.0.0.1:0", options);
  const Outcome sent = send(*runtime, from, receiving.uri(), {});
  const Outcome received = receiving.outcome();
  EXPECT_EQ(received.why_not.value().code, Errc::refused);
  EXPECT_THAT(why_not(sent), HasSubstr("'accelerator': more than 3145728 bytes"));
  EXPECT_TRUE(from.runs());
}

TEST(StateOnLanes, ThatIsDamagedOnTheWayIsSentAgain) {
  // Deep in the device state that follows the one page on the lane; so deep nothing else comes on
  // the control channel.
  const auto runtime = runtime_of_all_transports();
  runtime->add(wrap_lines(make_tcp_transport(), {}, [](std::unique_ptr<Channel> channel) {
    return make_faulty(std::move(channel), {.reading = {.flip_at = 3 * k_mib + 1}});
  }));
  const auto large = counting(8 * k_mib);
  MemorySource from(layout_of({k_unit_bytes}));
  MemoryDestination to;
  give_and_expect(from, to, large);
  SendOptions options;
  options.channels = 1;
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", options);
  ASSERT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  EXPECT_EQ(ended.sent.report.resent, k_state_piece_bytes / k_unit_bytes);
  EXPECT_EQ(ended.received.report.resent, ended.sent.report.resent);
}

TEST(StateOnLanes, StaysOnTheControlChannelForAReceiverThatKnowsNoOtherWay) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(layout_of({k_unit_bytes}));
  from.on_save = [](StateWriter& out) -> Result<void> {
    out.section("accelerator").bytes(counting(2 * k_mib));
    return {};
  };
  Door door;
  SendOptions options;
  options.channels = 1;
  Call sent = sending(*runtime, from, door.uri(), options);
  auto [hello, control, page] = door.accept_source(wire::k_device_state);
  control.say(wire::RoundAck{.round = 0});
  EXPECT_EQ(hello.optional_features, wire::k_known_optional_features);
  control.hear<wire::StateSectionFrame>();
  for (std::size_t piece = 0; piece < 2 * k_mib / k_state_piece_bytes; ++piece) {
    control.hear<wire::StatePiece>();
  }
  control.hear<wire::StateEnd>();
  control.hear<wire::Prepare>();
  control.say(wire::Abort{Errc::cancelled, "enough"});
  control.finish();
  EXPECT_EQ(sent.outcome().owner, Owner::source);
}

/// A source that says these packets of device state, a section of one byte and PREPARE.
class OddStateSource : public testing::Test {
 protected:
  struct Piece {
    PageRun at;
    std::uint32_t flags = wire::k_stable | wire::k_state;
  };
  Outcome says(const std::vector<Piece>& pieces) {
    const auto runtime = runtime_of_all_transports();
    to_.on_load = [](StateReader& in) -> Result<void> {
      while (FERRY_TRY(in.next())) in.skip();
      return {};
    };
    ReceiveOptions options;
    options.max_state_bytes = 4 * k_mib;
    Receiving receiving(*runtime, to_, "tcp://127.0.0.1:0", options);
    ScriptedSource source(*runtime, receiving.uri());
    const Mappings memory(layout_of({k_unit_bytes}));
    source.open(memory.memory().layout());
    source.send_all(memory);
    const std::vector<std::byte> byte(1);
    source.control().say(wire::StateSectionFrame{"a", 1});
    source.control().say(wire::StatePiece{byte});
    source.control().say(wire::StateEnd{1, chain(0, xxh3_64(byte))});
    for (const Piece& piece : pieces) {
      const std::vector<std::byte> bytes(piece.at.length);
      wire::PacketHeader header = header_of(piece.at, bytes);
      header.flags = piece.flags;
      if (!source.packet(0, header, bytes)) break;  // it was cut already
    }
    source.end_round(0);
    while (const auto answer = source.control().hear_any()) {
      if (std::holds_alternative<wire::RoundAck>(*answer)) {
        source.control().say(wire::Prepare{source.transcript(), {}});
      }
      if (std::holds_alternative<wire::Abort>(*answer)) source.control().finish();
      if (std::holds_alternative<wire::Ready>(*answer)) source.commit();
    }
    return receiving.outcome();
  }
  MemoryDestination to_;
};

TEST_F(OddStateSource, IsRefused) {
  constexpr std::uint64_t k_length = k_state_piece_bytes;
  const std::vector<std::pair<std::vector<Piece>, Errc>> odd = {
      {{{{0, 0, k_length}}}, Errc::protocol},          // it is there already
      {{{{0, k_length, k_length}}}, Errc::integrity},  // more than it ends with
      {{{{0, (std::uint64_t{1} << 44) - k_length, k_length}}}, Errc::integrity},  // far away
      {{{{1, 0, 1}}}, Errc::protocol},                                            // of no section
      {{{{1023, k_length, k_length}}}, Errc::protocol},                           // nor this
      {{{{1, 0, k_length}}, {{1, 0, k_length}}}, Errc::protocol},                 // twice
      {{{{1, 0, 10}}, {{1, k_length, 10}}}, Errc::protocol},                      // two ends
  };
  for (const auto& [pieces, code] : odd) {
    const Outcome outcome = says(pieces);
    EXPECT_EQ(outcome.why_not.value().code, code) << why_not(outcome);
    EXPECT_EQ(to_.starts(), 0u);
  }
}

TEST_F(OddStateSource, IsRefusedWhatIsTooMuch) {
  std::vector<Piece> pieces;
  for (std::uint64_t i = 0; i <= 4 * k_mib / k_state_piece_bytes; ++i) {
    pieces.push_back({{1, i * k_state_piece_bytes, k_state_piece_bytes}});
  }
  EXPECT_EQ(says(pieces).why_not.value().code, Errc::refused);
}

}  // namespace
}  // namespace ferry::test
