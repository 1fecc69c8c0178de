// Memory goes from one guest to another, in one process.
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "channels/buffer.h"
#include "channels/socket_channel.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"

namespace ferry::test {
namespace {

/// Sixteen channels' worth of pieces, a unit that is partial, and regions with nothing in them.
Layout odd_layout() {
  return layout_of({3 * k_mib + 1, 0, k_unit_bytes, 1, 700 * k_unit_bytes, 0});
}

std::string unix_address() { return "unix://@ferry-session-" + std::to_string(::getpid()); }

struct Way {
  std::string name;
  std::string at;
  unsigned channels;
  friend void PrintTo(const Way& way, std::ostream* out) { *out << way.name; }
};

class TransferByAddress : public testing::TestWithParam<Way> {};

TEST_P(TransferByAddress, MakesBothSidesIdentical) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(odd_layout());
  MemoryDestination to;
  const Ended ended =
      migrate(*runtime, from, to, GetParam().at, with_channels(GetParam().channels));
  expect_handed_over(ended, from, to);
  EXPECT_EQ(ended.sent.report.channels, GetParam().channels);
  EXPECT_EQ(ended.received.report.channels, GetParam().channels);
}

INSTANTIATE_TEST_SUITE_P(Ways, TransferByAddress,
                         testing::Values(Way{"TcpV4With1Channel", "tcp://127.0.0.1:0", 1},
                                         Way{"TcpV4With2Channels", "tcp://127.0.0.1:0", 2},
                                         Way{"TcpV6With8Channels", "tcp://[::1]:0", 8},
                                         Way{"TcpV4With255Channels", "tcp://127.0.0.1:0", 255},
                                         Way{"UnixWith1Channel", unix_address(), 1},
                                         Way{"UnixWith8Channels", unix_address(), 8}),
                         [](const auto& test) { return test.param.name; });

TEST(TransferOverOneChannel, MakesBothSidesIdenticalOverABufferPair) {
  const auto runtime = runtime_of_all_transports();
  for (const std::size_t capacity : {1000u, 64u * 1024u}) {
    MemorySource from(odd_layout());
    MemoryDestination to;
    auto [ours, theirs] = make_buffer_pair(capacity);
    const Ended ended = migrate_over(*runtime, from, to, std::move(ours), std::move(theirs), {});
    expect_handed_over(ended, from, to);
    EXPECT_EQ(ended.sent.report.channels, 1u);
    EXPECT_EQ(ended.received.report.channels, 1u);
  }
}

TEST(TransferOverOneChannel, MakesBothSidesIdenticalOverASocketPair) {
  const auto runtime = runtime_of_all_transports();
  MemorySource from(odd_layout());
  MemoryDestination to;
  auto [ours, theirs] = make_socket_pair().value();
  expect_handed_over(migrate_over(*runtime, from, to, std::move(ours), std::move(theirs), {}), from,
                     to);
}

TEST(Transfer, MovesAGuestThatHasNoMemory) {
  const auto runtime = runtime_of_all_transports();
  for (const Layout& layout : {Layout{}, layout_of({0})}) {
    MemorySource from(layout);
    MemoryDestination to;
    expect_handed_over(migrate(*runtime, from, to, "tcp://127.0.0.1:0", with_channels(2)), from,
                       to);
  }
}

TEST(Transfer, SendsWhatTheGuestWritesMeanwhileInFurtherRounds) {
  const auto runtime = runtime_of_all_transports();
  const std::uint64_t units = 32 * k_mib / k_unit_bytes;
  MemorySource from(layout_of({units * k_unit_bytes, 5000}));
  MemoryDestination to;
  // 24 MiB, 16 MiB, and nothing; what is written before the pause goes last of all.
  from.on_harvest = [&]() -> Result<void> {
    if (from.harvests() == 3 || from.harvests() > 4) return {};
    const auto value = static_cast<std::byte>(from.harvests());
    const std::uint64_t dirty = from.harvests() == 4 ? 2 : units - units * from.harvests() / 4;
    for (std::uint64_t unit = 0; unit < dirty; ++unit) {
      from.write(0, unit, unit % 5 == 0 ? std::byte{} : value);
    }
    from.write(1, 1, value);
    return {};
  };
  SendOptions options = with_channels(3);
  options.max_downtime = {};  // so that the machine's speed is of no matter
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", options);
  expect_handed_over(ended, from, to);
  EXPECT_EQ(from.harvests(), 5u);
  EXPECT_EQ(ended.sent.report.rounds, 4u);
  EXPECT_EQ(ended.received.report.rounds, 4u);
}

TEST(Transfer, FillsInTheReportsOfBothSides) {
  const auto runtime = runtime_of_all_transports();
  const std::uint64_t bytes = 3 * 64 * k_unit_bytes;  // a third of it zeros
  MemorySource from(layout_of({bytes}));
  MemoryDestination to;
  const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", with_channels(2));
  expect_handed_over(ended, from, to);
  for (const Report& report : {ended.sent.report, ended.received.report}) {
    EXPECT_EQ(report.bytes, bytes);
    EXPECT_EQ(report.zero_bytes, bytes / 3);
    EXPECT_GT(report.wire_bytes, bytes / 3 * 2);
    EXPECT_LT(report.wire_bytes, bytes / 3 * 2 + bytes / 16);
    EXPECT_GE(report.packets, 3u) << "the pages, and the end of the round on each channel";
    EXPECT_EQ(report.rounds, 1u);
    EXPECT_EQ(report.channels, 2u);
    EXPECT_EQ(report.resent, 0u);
    EXPECT_EQ(report.suspect, 0u);
    EXPECT_GT(report.elapsed.count(), 0);
    EXPECT_EQ(report.verify, Verify::pages);
    EXPECT_TRUE(report.peer.starts_with("tcp://127.0.0.1:")) << report.peer;
  }
  EXPECT_EQ(ended.sent.report.packets, ended.received.report.packets);
  EXPECT_EQ(ended.sent.report.wire_bytes, ended.received.report.wire_bytes);
  EXPECT_GT(ended.sent.report.downtime.count(), 0);
  EXPECT_EQ(ended.received.report.refused, 0u);
}

TEST(Transfer, CanGoOnTwiceAtTheSameTimeInOneRuntime) {
  const auto runtime = runtime_of_all_transports();
  MemorySource one(odd_layout(), 1);
  MemorySource other(odd_layout(), 2);
  MemoryDestination to_one;
  MemoryDestination to_other;
  Receiving receiving_one(*runtime, to_one);
  Receiving receiving_other(*runtime, to_other);
  Call sending_one = sending(*runtime, one, receiving_one.uri(), with_channels(2));
  Call sending_other = sending(*runtime, other, receiving_other.uri(), with_channels(2));
  expect_handed_over({sending_one.outcome(), receiving_one.outcome()}, one, to_one);
  expect_handed_over({sending_other.outcome(), receiving_other.outcome()}, other, to_other);
  EXPECT_NE(to_one.token(), to_other.token());
}

TEST(Send, RefusesANumberOfChannelsThatCannotBe) {
  const auto runtime = runtime_of_all_transports();
  for (const unsigned channels : {0u, 256u}) {
    MemorySource from(layout_of({4096}));
    const Outcome sent = send(*runtime, from, "tcp://127.0.0.1:1", with_channels(channels));
    ASSERT_TRUE(sent.why_not);
    EXPECT_EQ(sent.why_not->code, Errc::usage);
    EXPECT_EQ(sent.owner, Owner::source);
  }
}

TEST(Send, RefusesAddressesThatItCannotUse) {
  const auto runtime = runtime_of_all_transports();
  for (const char* address : {"", "nosuch://x", "tcp://127.0.0.1:99999"}) {
    MemorySource from(layout_of({4096}));
    MemoryDestination to;
    const Outcome sent = send(*runtime, from, address, {});
    ASSERT_TRUE(sent.why_not) << address;
    EXPECT_EQ(sent.why_not->code, Errc::usage);
    const Outcome received = receive(*runtime, to, address, {});
    ASSERT_TRUE(received.why_not) << address;
    EXPECT_EQ(received.why_not->code, Errc::usage);
    EXPECT_EQ(received.owner, Owner::source);
  }
}

TEST(Send, RefusesAMemoryThatTheWireCannotDescribe) {
  const auto runtime = runtime_of_all_transports();
  Layout twice = layout_of({4096, 4096});
  twice.regions[1].name = twice.regions[0].name;
  Layout nameless = layout_of({4096});
  nameless.regions[0].name.clear();
  Layout too_many;
  for (int i = 0; i < 1025; ++i) too_many.regions.push_back({.name = std::to_string(i)});
  for (const Layout& layout : {twice, nameless, too_many}) {
    MemorySource from(layout);
    MemoryDestination to;
    const Ended ended = migrate(*runtime, from, to, "tcp://127.0.0.1:0", with_channels(1));
    ASSERT_TRUE(ended.sent.why_not);
    EXPECT_EQ(ended.sent.why_not->code, Errc::usage) << why_not(ended.sent);
    EXPECT_EQ(ended.sent.owner, Owner::source);
    EXPECT_TRUE(from.runs());
    EXPECT_FALSE(ended.received.ok());
  }
}

}  // namespace
}  // namespace ferry::test
