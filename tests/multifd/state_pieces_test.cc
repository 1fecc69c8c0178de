// Device state over lanes: from the window of the sender to whoever keeps it, whole, once, and
// never more of it under way than there may be.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <map>
#include <mutex>
#include <utility>

#include "tests/channels/io.h"
#include "tests/multifd/receiving_memory.h"
#include "tests/multifd/transfer.h"

namespace ferry::test {
namespace {

/// Keeps what comes, from whatever lane.
class Keeper {
 public:
  PageReceiver::KeepState taking() {
    return [this](std::uint32_t section, std::uint64_t offset, std::span<const std::byte> bytes) {
      const std::scoped_lock lock(mutex_);
      const auto [entry, fresh] = kept_.try_emplace({section, offset}, bytes.begin(), bytes.end());
      return fresh ? Result<void>{} : fail(Errc::protocol, "twice");
    };
  }
  /// All of a section, from its first byte on.
  Bytes section(std::uint32_t number) const {
    const std::scoped_lock lock(mutex_);
    Bytes all;
    for (const auto& [place, bytes] : kept_) {
      if (place.first != number) continue;
      EXPECT_EQ(place.second, all.size());
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    return all;
  }
  std::size_t pieces() const {
    const std::scoped_lock lock(mutex_);
    return kept_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, Bytes> kept_;
};

bool submit_section(PageSender& sender, std::uint32_t section, std::span<const std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += k_state_piece_bytes) {
    const auto piece = bytes.subspan(at, std::min(k_state_piece_bytes, bytes.size() - at));
    if (!sender.submit_state(section, at, piece)) return false;
  }
  return true;
}

// As they stand on the line, where a lane carries nothing else.
constexpr std::uint64_t k_state_header_bytes = 48 + 32 + 8 * k_state_piece_bytes / k_unit_bytes;
constexpr std::uint64_t k_state_packet_bytes = k_state_header_bytes + k_state_piece_bytes;

class StatePieces : public testing::Test {
 protected:
  Result<std::vector<PageRun>> transfer(Transfer::Options options,
                                        const std::vector<Bytes>& sections) {
    transfer_.reset();
    keeper_ = std::make_unique<Keeper>();
    options.keep_state = keeper_->taking();
    transfer_ = std::make_unique<Transfer>(source_.memory(), destination_.memory(), options);
    return transfer_->round([&](PageSender& sender) {
      for (std::uint32_t number = 0; number < sections.size(); ++number) {
        if (!submit_section(sender, number, sections[number])) return false;
      }
      return true;
    });
  }
  void expect_whole(const std::vector<Bytes>& sections) {
    std::size_t pieces = 0;
    for (std::uint32_t number = 0; number < sections.size(); ++number) {
      EXPECT_TRUE(keeper_->section(number) == sections[number]) << number;
      pieces += (sections[number].size() + k_state_piece_bytes - 1) / k_state_piece_bytes;
    }
    EXPECT_EQ(keeper_->pieces(), pieces);
    EXPECT_EQ(transfer_->sender().totals().state_pieces, pieces);
    ASSERT_TRUE(transfer_->receiver().freeze());
    EXPECT_EQ(transfer_->receiver().transcript(), transfer_->sender().transcript());
  }

  TestMemory source_{Reach::mapping, {k_unit_bytes}};
  TestMemory destination_{Reach::mapping, {k_unit_bytes}};
  std::unique_ptr<Keeper> keeper_;
  std::unique_ptr<Transfer> transfer_;
};

TEST_F(StatePieces, OfMoreThanTheWindowArriveOverEveryKindOfLine) {
  const std::vector<Bytes> sections = {
      noise_bytes((StateWindow::k_most_pieces + 30) * k_state_piece_bytes + 4097, 1),
      noise_bytes(1, 2)};
  for (const Transfer::Line line :
       {Transfer::Line::buffer, Transfer::Line::socket, Transfer::Line::placing}) {
    for (const unsigned lanes : {1u, 3u}) {
      const auto done = transfer({.lanes = lanes, .line = line}, sections);
      ASSERT_TRUE(done) << text_of(done);
      expect_whole(sections);
      EXPECT_EQ(transfer_->sender().totals().placed_bytes, 0u) << "it belongs into no memory";
    }
  }
}

TEST_F(StatePieces, GoBesidePagesOfTheSameRound) {
  paint(source_, Picture::noise, 1);
  transfer_ = std::make_unique<Transfer>(
      source_.memory(), destination_.memory(),
      Transfer::Options{.lanes = 2,
                        .keep_state = (keeper_ = std::make_unique<Keeper>())->taking()});
  const Bytes state = noise_bytes(3 * k_state_piece_bytes, 3);
  const auto done = transfer_->round([&](PageSender& sender) {
    return submit_section(sender, 0, state) && sender.submit({0, 0, k_unit_bytes}, Content::data) &&
           submit_section(sender, 1, state);
  });
  ASSERT_TRUE(done) << text_of(done);
  expect_whole({state, state});
  EXPECT_TRUE(same_bytes(destination_.content(), source_.content()));
}

TEST_F(StatePieces, ThatAreDamagedComeAgainAsAWhole) {
  const std::vector<Bytes> sections = {noise_bytes(4 * k_state_piece_bytes, 4)};
  // Two units of the second piece, and one of the fourth.
  const auto done =
      transfer({.flips = {k_state_packet_bytes + k_state_header_bytes + 5,
                          k_state_packet_bytes + k_state_header_bytes + 9 * k_unit_bytes,
                          3 * k_state_packet_bytes + k_state_header_bytes + 1000}},
               sections);
  ASSERT_TRUE(done) << text_of(done);
  expect_whole(sections);
  const std::uint64_t units = 2 * k_state_piece_bytes / k_unit_bytes;
  EXPECT_EQ(transfer_->sender().totals().resent_units, units);
  EXPECT_EQ(transfer_->receiver().totals().resent_units, units);
}

TEST_F(StatePieces, ThatAreDamagedInEveryResendAreAnIntegrityError) {
  // One piece, and behind it resends and the end of the round, which may overtake any of them: a
  // byte so deep in each that it is hit either way.
  std::vector<std::uint64_t> flips;
  for (std::uint64_t copy = 0; copy <= wire::k_max_resends; ++copy) {
    flips.push_back(copy * k_state_packet_bytes + k_state_header_bytes + 1000);
  }
  const auto done = transfer({.flips = flips}, {noise_bytes(k_state_piece_bytes, 5)});
  ASSERT_EQ(code_of(done), Errc::integrity);
  EXPECT_EQ(text_of(done),
            "receive section 0 of device state at offset 0x0: its checksum still differs after 3 "
            "resends");
  EXPECT_EQ(keeper_->pieces(), 0u);
}

TEST_F(StatePieces, OfADamagedHeaderAreAnIntegrityErrorAndNotKept) {
  for (const std::uint64_t at : {8, 20, 40, 48, 56, 80}) {
    const auto done = transfer({.flips = {at}}, {noise_bytes(k_state_piece_bytes, 6)});
    EXPECT_EQ(code_of(done), Errc::integrity) << "byte " << at << ": " << text_of(done);
    EXPECT_EQ(keeper_->pieces(), 0u);
  }
}

TEST(StateWindow, LetsNoMoreInThanItHolds) {
  StateWindow window;
  for (std::size_t i = 0; i < StateWindow::k_most_pieces; ++i) ASSERT_TRUE(window.enter());
  auto entering = std::async(std::launch::async, [&] { return window.enter(); });
  window.leave();
  EXPECT_TRUE(entering.get());
  auto waiting = std::async(std::launch::async, [&] { return window.enter(); });
  window.close();
  EXPECT_FALSE(waiting.get());
  EXPECT_EQ(window.left(), 1u);
}

// Sources that send what no honest one would.

CraftedPacket state_packet(std::uint64_t sequence, const PageRun& at, std::uint32_t flags = 0) {
  return CraftedPacket(sequence, 0, wire::k_stable | wire::k_state | flags)
      .data(at, std::span(k_noise).first(at.length));
}

class HostileStateSource : public testing::Test {
 protected:
  TestMemory memory_{Reach::mapping, {k_unit_bytes}};
  Keeper keeper_;
  FedReceiver fed_{memory_.memory(), 1, Carried::streamed, keeper_.taking()};
};

TEST_F(HostileStateSource, IsAnsweredForEachPieceThatIsGood) {
  fed_.send(state_packet(0, {7, k_state_piece_bytes, 100}));
  EXPECT_EQ(fed_.answer(), wire::ControlFrame(wire::StateAck{.lane = 0, .sequence = 0}));
  EXPECT_EQ(fed_.receiver().bytes_verified(), 0u) << "it is no memory";
}

TEST_F(HostileStateSource, MayRepairWhatItDamagedBehindTheEndOfTheRound) {
  fed_.send(state_packet(0, {1, 0, 2 * k_unit_bytes}).damage(1));
  EXPECT_EQ(fed_.answer(), wire::ControlFrame(wire::Nak{.runs = {{1, 0, 2 * k_unit_bytes}}}));
  fed_.send(end_of_round(1));
  fed_.send(state_packet(2, {1, 0, 2 * k_unit_bytes}, wire::k_resend));
  EXPECT_EQ(fed_.answer(), wire::ControlFrame(wire::StateAck{.lane = 0, .sequence = 2}));
  EXPECT_EQ(fed_.answer(), wire::ControlFrame(wire::RoundAck{.round = 0}));
}

TEST_F(HostileStateSource, IsRefusedWhatTheKeeperRefuses) {
  fed_.send(state_packet(0, {1, 0, 10}));
  fed_.send(state_packet(1, {1, 0, 10}));
  EXPECT_EQ(fed_.failure().code, Errc::protocol);
}

TEST_F(HostileStateSource, CannotAddAPieceAfterTheEndOfTheRound) {
  fed_.send(state_packet(0, {1, 0, 10}).damage(0));
  fed_.send(end_of_round(1));
  fed_.send(state_packet(2, {2, 0, 10}));
  EXPECT_EQ(fed_.failure().text(), "packet 2 on channel 0: the round has ended on this channel");
}

TEST_F(HostileStateSource, CannotRepairMemoryWithAPiece) {
  fed_.send(CraftedPacket(0).data({0, 0, k_unit_bytes}, noise(1)).damage(0));
  EXPECT_TRUE(std::holds_alternative<wire::Nak>(fed_.answer()));
  fed_.send(end_of_round(1));
  fed_.send(state_packet(2, {0, 0, k_unit_bytes}, wire::k_resend));
  EXPECT_TRUE(std::holds_alternative<wire::StateAck>(fed_.answer()));
  fed_.send(
      CraftedPacket(3, 0, wire::k_stable | wire::k_resend).data({0, 0, k_unit_bytes}, noise(1)));
  EXPECT_TRUE(std::holds_alternative<wire::RoundAck>(fed_.answer())) << "not before";
}

TEST_F(HostileStateSource, IsRefusedWhereNoStateIsTaken) {
  FedReceiver fed(memory_.memory());
  fed.send(state_packet(0, {0, 0, 10}));
  EXPECT_EQ(fed.failure().text(), "packet 0 on channel 0: device state, where none is taken");
}

// Receivers that answer as no honest one would.

class HostileStateReceiver : public testing::Test {
 protected:
  HostileStateReceiver() {
    EXPECT_TRUE(sender_.add_lane(link_));
    sender_.begin_round(0, Motion::still);
    EXPECT_TRUE(sender_.submit_state(3, 0, std::span(k_noise).first(5000)));
    EXPECT_TRUE(peer_.next().value().has_value());  // it has been sent, or is about to be
  }
  ~HostileStateReceiver() override {
    sender_.close();
    link_.cancel(Errc::cancelled);
  }

  Liveness liveness_;
  TestMemory memory_{Reach::mapping, {k_unit_bytes}};
  ChannelPair line_ = make_buffer_pair(1024 * 1024);
  Link link_{std::move(line_.first), liveness_};
  Link peer_{std::move(line_.second), liveness_};
  PageSender sender_{memory_.memory(), {}, {.failed = [](const Error&) {}}};
};

TEST_F(HostileStateReceiver, CannotKeepWhatItWasNotSent) {
  EXPECT_EQ(code_of(sender_.state_acknowledged({.lane = 0, .sequence = 1})), Errc::protocol);
  EXPECT_EQ(code_of(sender_.state_acknowledged({.lane = 1, .sequence = 0})), Errc::protocol);
  EXPECT_TRUE(sender_.state_acknowledged({.lane = 0, .sequence = 0}));
}

TEST_F(HostileStateReceiver, ThatNeverAnswersIsSentNoMoreThanTheWindowHolds) {
  auto submitting = std::async(std::launch::async, [&] {
    std::size_t taken = 1;
    const Bytes bytes(k_state_piece_bytes);
    while (sender_.submit_state(3, taken * k_state_piece_bytes, bytes)) ++taken;
    return taken;
  });
  Bytes payload(5000);
  for (std::size_t packet = 1;; ++packet) {
    const iovec into = piece_of(payload);
    ASSERT_TRUE(peer_.read_payload({&into, 1}));
    if (packet == StateWindow::k_most_pieces) break;
    payload.resize(k_state_piece_bytes);
    ASSERT_TRUE(peer_.next().value().has_value());
  }
  sender_.close();
  EXPECT_EQ(submitting.get(), StateWindow::k_most_pieces);
}

TEST_F(HostileStateReceiver, AnswersAPieceOnce) {
  ASSERT_TRUE(sender_.state_acknowledged({.lane = 0, .sequence = 0}));
  EXPECT_EQ(code_of(sender_.state_acknowledged({.lane = 0, .sequence = 0})), Errc::protocol);
  const wire::Nak nak{.lane = 0, .sequence = 0, .runs = {{3, 0, 5000}}};
  EXPECT_FALSE(sender_.resend(nak)) << "it is no memory either";
}

TEST_F(HostileStateReceiver, CannotRefuseWhatIsNotInThePacket) {
  for (const PageRun& wrong :
       {PageRun{3, 0, 4096}, PageRun{2, 0, 5000}, PageRun{3, 4096, 904}, PageRun{3, 0, 5001}}) {
    EXPECT_EQ(code_of(sender_.resend({.lane = 0, .sequence = 0, .runs = {wrong}})), Errc::protocol);
  }
  const PageRun right{3, 0, 5000};
  EXPECT_EQ(code_of(sender_.resend({.lane = 0, .sequence = 0, .runs = {right, right}})),
            Errc::protocol);
  ASSERT_TRUE(sender_.resend({.lane = 0, .sequence = 0, .runs = {right}}));
  EXPECT_EQ(code_of(sender_.state_acknowledged({.lane = 0, .sequence = 0})), Errc::protocol)
      << "it was refused";
}

}  // namespace
}  // namespace ferry::test
