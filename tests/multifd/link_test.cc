#include "multifd/link.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <string>
#include <thread>

#include "base/iovec_window.h"
#include "channels/buffer.h"
#include "channels/faulty.h"
#include "tests/channels/io.h"
#include "tests/multifd/crafted_packet.h"

namespace ferry::test {
namespace {

// A short page, as at the end of a region: tests that go through every byte are quick.
const Bytes k_page = noise_bytes(64, 1);

Result<void> write_bytes(Channel& channel, std::span<const std::byte> bytes) {
  const iovec piece = piece_of(bytes);
  return channel.write({&piece, 1});
}

CraftedPacket page_packet(std::uint64_t sequence) {
  return CraftedPacket(sequence).data({0, sequence * k_unit_bytes, k_page.size()}, k_page);
}

/// A link, and the other end of its line.
struct LinkAndPeer {
  explicit LinkAndPeer(FaultyOptions faults = {}) {
    auto [ours, theirs] = make_buffer_pair();
    link.emplace(make_faulty(std::move(ours), faults), liveness);
    peer = std::move(theirs);
  }

  void expect_control(const wire::ControlFrame& frame) {
    const auto message = link->next();
    ASSERT_TRUE(message && *message) << text_of(message);
    EXPECT_EQ((*message)->kind, wire::MessageKind::control);
    EXPECT_EQ(wire::decode_control((*message)->bytes), frame);
  }
  void expect_page_packet(std::uint64_t sequence) {
    const auto message = link->next();
    ASSERT_TRUE(message && *message) << text_of(message);
    ASSERT_EQ((*message)->kind, wire::MessageKind::packet);
    const auto packet = wire::decode_packet((*message)->bytes);
    ASSERT_TRUE(packet) << text_of(packet);
    EXPECT_EQ(packet->header.sequence, sequence);
    // In pieces, one of them empty, as runs of a packet may lie anywhere.
    Bytes page(k_page.size());
    const iovec pieces[] = {{page.data(), 10}, {nullptr, 0}, {page.data() + 10, page.size() - 10}};
    const auto read = link->read_payload(pieces);
    ASSERT_TRUE(read) << text_of(read);
    EXPECT_EQ(page, k_page);
  }
  void expect_end() {
    const auto message = link->next();
    ASSERT_TRUE(message) << text_of(message);
    EXPECT_FALSE(*message);
  }

  Liveness liveness;
  std::optional<Link> link;
  std::unique_ptr<Channel> peer;
};

/// Frames and packets by turns, as on a solo channel.
Bytes conversation() {
  Bytes all = wire::encode(wire::Heartbeat{.bytes_verified = 7});
  for (std::uint64_t sequence = 0; sequence < 2; ++sequence) {
    const Bytes packet = page_packet(sequence).bytes();
    all.insert(all.end(), packet.begin(), packet.end());
  }
  const Bytes ack = wire::encode(wire::RoundAck{.round = 3});
  all.insert(all.end(), ack.begin(), ack.end());
  return all;
}

void expect_conversation(LinkAndPeer& line) {
  line.expect_control(wire::Heartbeat{.bytes_verified = 7});
  line.expect_page_packet(0);
  line.expect_page_packet(1);
  line.expect_control(wire::RoundAck{.round = 3});
}

TEST(Link, TakesSeveralMessagesThatCameAtOnce) {
  LinkAndPeer line;
  ASSERT_TRUE(write_bytes(*line.peer, conversation()));
  ASSERT_TRUE(line.peer->finish());
  expect_conversation(line);
  line.expect_end();
  line.expect_end();
}

TEST(Link, TakesMessagesThatComeByteByByte) {
  LinkAndPeer line({.reading = {.most_a_call = 1}});
  ASSERT_TRUE(write_bytes(*line.peer, conversation()));
  ASSERT_TRUE(line.peer->finish());
  expect_conversation(line);
  line.expect_end();
}

TEST(Link, TakesMessagesOfAWriterThatIsSplitAtEveryPoint) {
  const Bytes all = conversation();
  for (std::size_t split = 0; split <= all.size(); ++split) {
    LinkAndPeer line;
    std::thread writer([&] {
      EXPECT_TRUE(write_bytes(*line.peer, std::span(all).first(split)));
      EXPECT_TRUE(write_bytes(*line.peer, std::span(all).subspan(split)));
      EXPECT_TRUE(line.peer->finish());
    });
    expect_conversation(line);
    line.expect_end();
    writer.join();
    if (HasFailure()) FAIL() << "split at " << split;
  }
}

TEST(Link, TellsAnEndBetweenMessagesFromAnEndWithinOne) {
  const Bytes all = conversation();
  const std::size_t heartbeat = wire::encode(wire::Heartbeat{}).size();
  const std::size_t packet = page_packet(0).bytes().size();
  for (std::size_t length = 0; length < all.size(); ++length) {
    LinkAndPeer line;
    ASSERT_TRUE(write_bytes(*line.peer, std::span(all).first(length)));
    ASSERT_TRUE(line.peer->finish());

    const auto read_all = [&]() -> Result<void> {
      while (const auto message = FERRY_TRY(line.link->next())) {
        if (message->kind == wire::MessageKind::control) continue;
        Bytes page(k_page.size());
        const iovec piece{page.data(), page.size()};
        FERRY_TRY(line.link->read_payload({&piece, 1}));
      }
      return {};
    };
    const auto read = read_all();
    const bool between = length == 0 || length == heartbeat || length == heartbeat + packet ||
                         length == heartbeat + 2 * packet;
    ASSERT_EQ(code_of(read), between ? std::nullopt : std::optional(Errc::disconnected))
        << length << " bytes: " << text_of(read);
    if (!between) {
      ASSERT_EQ(text_of(read),
                "read from a buffer pair: the peer ended in the middle of a message");
    }
  }
}

TEST(Link, RepeatsWhatTheChannelSaysOfACutLine) {
  LinkAndPeer line;
  ASSERT_TRUE(write_bytes(*line.peer, wire::encode(wire::LayoutAck{})));
  line.peer.reset();
  line.expect_control(wire::LayoutAck{});
  EXPECT_EQ(code_of(line.link->next()), Errc::disconnected);
  EXPECT_EQ(code_of(line.link->next()), Errc::disconnected);
}

TEST(Link, RefusesAMagicThatIsNoneOfItsOwn) {
  for (const std::string_view magic : {"FRYH", "FRYA", "GET ", "fryc"}) {
    LinkAndPeer line;
    Bytes message = wire::encode(wire::LayoutAck{});
    std::memcpy(message.data(), magic.data(), magic.size());
    ASSERT_TRUE(write_bytes(*line.peer, message));
    EXPECT_EQ(code_of(line.link->next()), Errc::protocol) << magic;
  }
}

TEST(Link, RefusesALengthBeforeItReadsOn) {
  // Nothing follows the prologue: a link that believed the length would wait for ever.
  const auto prologue = [](std::string_view magic, std::uint32_t length) {
    Bytes bytes(wire::k_prologue_bytes);
    std::memcpy(bytes.data(), magic.data(), 4);
    for (unsigned i = 0; i < 4; ++i) bytes[4 + i] = static_cast<std::byte>(length >> 8 * i);
    return bytes;
  };
  const std::pair<std::string_view, std::uint32_t> wrong[] = {
      {"FRYC", wire::k_max_control_bytes + 1},
      {"FRYC", 17},
      {"FRYC", 0},
      {"FRYC", UINT32_MAX},
      {"FRYP", wire::k_max_packet_header_bytes + 1},
      {"FRYP", 47},
      {"FRYP", UINT32_MAX}};
  for (const auto& [magic, length] : wrong) {
    LinkAndPeer line;
    ASSERT_TRUE(write_bytes(*line.peer, prologue(magic, length)));
    EXPECT_EQ(code_of(line.link->next()), Errc::protocol) << magic << " " << length;
  }
}

TEST(Link, ReadsAPayloadOfMorePiecesThanOneCallTakes) {
  LinkAndPeer line;
  const Bytes payload = noise_bytes(5000, 2);
  ASSERT_TRUE(write_bytes(*line.peer, payload));
  ASSERT_TRUE(write_bytes(*line.peer, wire::encode(wire::LayoutAck{})));
  Bytes read(payload.size());
  std::vector<iovec> pieces;
  for (std::byte& byte : read) pieces.push_back({&byte, 1});
  const auto done = line.link->read_payload(pieces);
  ASSERT_TRUE(done) << text_of(done);
  EXPECT_EQ(read, payload);
  line.expect_control(wire::LayoutAck{});
}

TEST(Link, KeepsMessagesOfManyWritersWhole) {
  constexpr unsigned k_writers = 4;
  constexpr unsigned k_each = 200;
  auto [ours, theirs] = make_buffer_pair(100);  // smaller than a message: all of them wait
  Liveness liveness;
  Link writing(std::move(ours), liveness);
  Link reading(std::move(theirs), liveness);
  std::vector<std::jthread> writers;
  for (std::uint16_t writer = 0; writer < k_writers; ++writer) {
    writers.emplace_back([&writing, writer] {
      for (unsigned i = 0; i < k_each; ++i) {
        EXPECT_TRUE(writing.send(
            wire::Nak{.lane = writer, .sequence = i, .runs = {units(0, 1), units(2, 3)}}));
      }
    });
  }
  std::vector<std::uint64_t> next(k_writers);
  for (unsigned i = 0; i < k_writers * k_each; ++i) {
    const auto message = reading.next();
    ASSERT_TRUE(message && *message) << text_of(message);
    const auto frame = wire::decode_control((*message)->bytes);
    ASSERT_TRUE(frame) << text_of(frame);
    const auto& nak = std::get<wire::Nak>(*frame);
    EXPECT_EQ(nak.sequence, next[nak.lane]++);
  }
}

TEST(Link, RemembersWhenThePeerWasHeard) {
  LinkAndPeer line;
  const auto before = line.liveness.last();
  while (Clock::now() == before) {
  }
  ASSERT_TRUE(line.link->send(wire::LayoutAck{}));
  EXPECT_EQ(line.liveness.last(), before) << "our own words are no news of the peer";
  ASSERT_TRUE(write_bytes(*line.peer, wire::encode(wire::LayoutAck{})));
  line.expect_control(wire::LayoutAck{});
  EXPECT_GT(line.liveness.last(), before);
}

TEST(Link, CancelWakesAReaderAndAWriter) {
  auto [ours, theirs] = make_buffer_pair(10);
  Liveness liveness;
  Link link(std::move(ours), liveness);
  std::optional<Errc> reading;
  std::optional<Errc> writing;
  BlockedThread reader([&] { reading = code_of(link.next()); });
  BlockedThread writer([&] { writing = code_of(link.send(wire::Heartbeat{})); });
  reader.wait_until_asleep();
  writer.wait_until_asleep();
  link.cancel(Errc::timed_out);
  reader.join();
  writer.join();
  EXPECT_EQ(reading, Errc::timed_out);
  EXPECT_EQ(writing, Errc::timed_out);
}

TEST(Link, AMessageIsASignOfLifeWhenAllOfItIsHere) {
  Liveness liveness;
  auto [ours, peer] = make_buffer_pair(1);  // a write returns when all but its last byte was read
  Link link(std::move(ours), liveness);
  const auto begun = liveness.last();
  std::thread reader([&] { EXPECT_TRUE(link.next()); });
  const Bytes message = wire::encode(wire::Heartbeat{});
  const auto half = std::span(message).first(message.size() / 2);
  EXPECT_TRUE(write_bytes(*peer, half));
  EXPECT_EQ(liveness.last(), begun);
  EXPECT_TRUE(write_bytes(*peer, std::span(message).subspan(half.size())));
  reader.join();
  EXPECT_GT(liveness.last(), begun);
}

}  // namespace
}  // namespace ferry::test
