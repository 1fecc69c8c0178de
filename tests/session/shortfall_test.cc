// What a line cannot have although it was asked for: the migration goes on, and warns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "ferry/unique_fd.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"

namespace ferry::test {
namespace {

using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// What both sides were warned of in one migration that succeeds.
struct Warned {
  std::vector<std::string> sender;
  std::vector<std::string> receiver;
};

Warned migrate_between(Runtime& source, Runtime& destination) {
  Warned warned;
  MemorySource from(layout_of({300 * k_unit_bytes}));
  MemoryDestination to;
  ReceiveOptions receive_options;
  receive_options.observer.warning = [&](const Warning& w) { warned.receiver.push_back(w.text); };
  Receiving receiving(destination, to, "tcp://127.0.0.1:0", receive_options);
  SendOptions options;
  options.channels = 2;
  options.observer.warning = [&](const Warning& w) { warned.sender.push_back(w.text); };
  const Outcome sent = send(source, from, receiving.uri(), options);
  EXPECT_TRUE(sent.ok()) << why_not(sent);
  const Outcome received = receiving.outcome();
  EXPECT_TRUE(received.ok()) << why_not(received);
  EXPECT_TRUE(identical(from, to));
  return warned;
}

TEST(Shortfall, IsAWarningToTheSideThatAskedForMore) {
  RuntimeOptions wants_mptcp;
  wants_mptcp.mptcp = true;
  const auto asks = make_runtime(wants_mptcp).value();
  const auto asks_not = make_runtime().value();
  const auto about_mptcp = AnyOf(HasSubstr("the peer speaks plain TCP"), HasSubstr("no MPTCP"));
  const Warned sender_asks = migrate_between(*asks, *asks_not);
  EXPECT_THAT(sender_asks.sender, ElementsAre(about_mptcp));
  EXPECT_THAT(sender_asks.receiver, IsEmpty());
  const Warned receiver_asks = migrate_between(*asks_not, *asks);
  EXPECT_THAT(receiver_asks.sender, IsEmpty());
  EXPECT_THAT(receiver_asks.receiver, ElementsAre(about_mptcp));
}

TEST(Shortfall, IsNoneWhereBothSidesHaveWhatTheyAskFor) {
  if (!UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP))) {
    GTEST_SKIP() << "this kernel has no MPTCP";
  }
  RuntimeOptions wants_mptcp;
  wants_mptcp.mptcp = true;
  const auto source = make_runtime(wants_mptcp).value();
  const auto destination = make_runtime(wants_mptcp).value();
  const Warned warned = migrate_between(*source, *destination);
  EXPECT_THAT(warned.sender, IsEmpty());
  EXPECT_THAT(warned.receiver, IsEmpty());
}

}  // namespace
}  // namespace ferry::test
