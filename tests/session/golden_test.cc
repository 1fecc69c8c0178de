// A receiver of today, fed with what sources of earlier versions said.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <variant>

#include "tests/same_bytes.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/peer.h"
#include "tests/wire/golden_streams.h"
#include "tests/wire/stream.h"

namespace ferry::test {
namespace {

using wire::Bytes;
using wire::Piece;

/// Says a recorded session again, and waits where a source waits.
class Replay {
 public:
  Replay(Runtime& runtime, std::string uri, std::filesystem::path session)
      : runtime_(runtime), uri_(std::move(uri)), session_(std::move(session)) {}

  void run() {
    const Bytes stream = wire::read_bytes(session_ / "0.up");
    const auto pieces = wire::pieces_of(stream).value();
    Peer control = connect_to(runtime_, uri_);
    greet(control, pieces.front());
    for (const Piece& piece : std::span(pieces).subspan(1)) {
      const wire::ControlFrame frame = wire::decode_control(piece.bytes).value();
      // What a source hears before it says this.
      if (std::holds_alternative<wire::Prepare>(frame)) hear_the_round_end(control);
      ASSERT_TRUE(control.say(piece.bytes));
      if (std::holds_alternative<wire::LayoutFrame>(frame)) control.hear<wire::LayoutAck>();
      if (std::holds_alternative<wire::Prepare>(frame)) control.hear<wire::Ready>();
      if (std::holds_alternative<wire::Commit>(frame)) control.hear<wire::Started>();
      if (std::holds_alternative<wire::AddChannels>(frame)) {
        control.hear<wire::ChannelsAck>();
        open_lanes();
      }
    }
    for (Peer& lane : lanes_) lane.finish();
    control.finish();
    EXPECT_TRUE(control.hear_the_end());
  }

 private:
  static void greet(Peer& peer, const Piece& hello) {
    ASSERT_TRUE(peer.say(hello.bytes));
    EXPECT_EQ(peer.hear_ack().verdict, wire::HelloAck::Verdict::accepted);
  }
  void open_lanes() {
    for (const auto& path : wire::streams_in(session_, ".up")) {
      if (path.filename() == "0.up") continue;
      const Bytes stream = wire::read_bytes(path);
      const std::size_t hello = wire::pieces_of(stream)->front().bytes.size();
      Peer& lane = lanes_.emplace_back(connect_to(runtime_, uri_));
      greet(lane, {Piece::Kind::message, std::span(stream).first(hello)});
      ASSERT_TRUE(lane.say(std::span(stream).subspan(hello)));
    }
  }
  /// Packets that are asked for again are in the recording.
  static void hear_the_round_end(Peer& control) {
    for (;;) {
      const auto frame = control.hear_any();
      ASSERT_TRUE(frame) << "the session ended";
      if (std::holds_alternative<wire::RoundAck>(*frame)) return;
      ASSERT_TRUE(std::holds_alternative<wire::Nak>(*frame)) << wire::name_of(*frame);
    }
  }

  Runtime& runtime_;
  const std::string uri_;
  const std::filesystem::path session_;
  std::vector<Peer> lanes_;
};

void expect_the_image(const std::filesystem::path& session) {
  const auto runtime = runtime_of_all_transports();
  MemoryDestination guest;
  Receiving receiving(*runtime, guest);
  Replay(*runtime, receiving.uri(), session).run();
  const Outcome outcome = receiving.outcome();
  ASSERT_TRUE(outcome.ok()) << session << ": " << why_not(outcome);
  const Bytes image = wire::read_bytes(session / "disk.img");
  ASSERT_EQ(guest.mappings()->memory().regions().size(), 1u);
  EXPECT_TRUE(same_bytes(guest.mappings()->region(0), image)) << session;
}

TEST(GoldenSession, OfVersion1GivesTheImage) {
  expect_the_image(std::filesystem::path(GOLDEN_STREAMS) / "v1/whole");
}

TEST(GoldenSession, OfVersion1WithADamagedPageGivesTheImage) {
  expect_the_image(std::filesystem::path(GOLDEN_STREAMS) / "v1/resent");
}

}  // namespace
}  // namespace ferry::test
