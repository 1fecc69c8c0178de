// An encrypted session, and channels that are encrypted as well but not of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "session/greeting.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/peer.h"

namespace ferry::test {
namespace {

using enum wire::HelloAck::Verdict;
using wire::Role;

/// A channel that is through TLS, and what it can prove.
struct Line {
  std::unique_ptr<Channel> channel;
  ChannelBinding::Proof prove(const wire::Secret& secret, std::uint16_t index) const {
    return channel->facets().binding->prove(secret, index);
  }
};

class Binding : public testing::Test {
 protected:
  Line connect() {
    Transport* const tls = runtime_->transport("tls").value();
    const Uri to = Uri::parse(receiving_.uri()).value();
    return {block_on(runtime_->loop(), tls->connect(runtime_->loop(), to)).value()};
  }
  static wire::Hello hello(Role role, std::uint16_t index = 0) {
    return {.session = session_id(1), .role = role, .index = index};
  }
  static wire::HelloAck introduce(Line line, const wire::Hello& hello) {
    return Peer(std::move(line.channel)).introduce(hello);
  }

  const std::unique_ptr<Runtime> runtime_ = runtime_of_all_transports();
  MemoryDestination to_;
  Receiving receiving_{*runtime_, to_, "tls://127.0.0.1:0"};
};

TEST_F(Binding, AChannelWithoutTheRightToTheSessionIsRefused) {
  Peer control(connect().channel);
  const wire::HelloAck ack = control.introduce(hello(Role::control));
  ASSERT_EQ(ack.verdict, accepted);
  ASSERT_TRUE(ack.secret);
  control.say(wire::LayoutFrame{layout_of({4096})});
  control.hear<wire::LayoutAck>();
  control.say(wire::AddChannels{.first = 0, .count = 2});
  control.hear<wire::ChannelsAck>();

  // It knows the key, and the number of the session.
  wire::Hello page = hello(Role::page, 1);
  EXPECT_EQ(introduce(connect(), page).verdict, stranger);

  // It has heard what another channel proved, or for another lane.
  const Line other = connect();
  page.proof = other.prove(*ack.secret, 1);
  EXPECT_EQ(introduce(connect(), page).verdict, stranger);
  Line line = connect();
  page.proof = line.prove(*ack.secret, 0);
  EXPECT_EQ(introduce(std::move(line), page).verdict, stranger);

  // It guesses the secret.
  line = connect();
  page.proof = line.prove(wire::Secret{}, 1);
  EXPECT_EQ(introduce(std::move(line), page).verdict, stranger);

  line = connect();
  page.proof = line.prove(*ack.secret, 1);
  EXPECT_EQ(introduce(std::move(line), page).verdict, accepted);
}

TEST_F(Binding, AWrongKeyDoesNotEndASessionThatHasBegun) {
  MemorySource from(layout_of({10 * k_unit_bytes}));
  MemorySource second(layout_of({k_unit_bytes}));
  Uri wrong = Uri::parse(receiving_.uri()).value();
  wrong.query["key"] = std::string(64, '0');
  std::optional<Outcome> refused;
  from.on_pause = [&]() -> Result<void> {
    refused = send(*runtime_, second, wrong.text(), {});
    return {};
  };
  const Outcome sent = send(*runtime_, from, receiving_.uri(), {});
  EXPECT_TRUE(sent.ok()) << why_not(sent);
  const Outcome received = receiving_.outcome();
  EXPECT_TRUE(received.ok()) << why_not(received);
  EXPECT_TRUE(identical(from, to_));
  EXPECT_FALSE(sent.report.cipher.empty());
  EXPECT_FALSE(received.report.cipher.empty());
  ASSERT_TRUE(refused && refused->why_not);
  EXPECT_EQ(refused->why_not->code, Errc::auth);
  EXPECT_THAT(why_not(*refused), testing::HasSubstr("wrong key"));
}

}  // namespace
}  // namespace ferry::test
