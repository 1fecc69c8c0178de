// TLS over lines that a test holds in its hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "channels/buffer.h"
#include "channels/faulty.h"
#include "channels/socket_channel.h"
#include "channels/tls.h"
#include "channels/tls_channel.h"
#include "channels/tls_key.h"
#include "loop/async_io.h"
#include "tests/channels/io.h"
#include "tests/channels/loop_thread.h"
#include "tests/channels/raw_socket.h"
#include "tests/channels/tls_ends.h"
#include "tests/descriptor_limit.h"
#include "tests/e2e/certificates.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Ends {
  std::unique_ptr<Channel> client;
  std::unique_ptr<Channel> server;
};

Task<Ends> shake_hands(EventLoop& loop, Ends plain, TlsKey client_key, TlsKey server_key,
                       std::uint64_t records_per_key) {
  TlsPeer peer;
  peer.name = "a test";
  peer.records_per_key = records_per_key;
  BothEnds lines(std::move(plain.client), std::move(plain.server));
  lines = co_await secure_both(loop, std::move(lines), client_key, server_key, std::move(peer));
  Ends ends;
  ends.client = std::move(lines.first);
  ends.server = std::move(lines.second);
  co_return std::move(ends);
}

Ends buffers() {
  auto [client, server] = make_buffer_pair(64 * 1024);
  return {std::move(client), std::move(server)};
}

class TlsLine : public testing::Test {
 protected:
  Result<Ends> encrypt(Ends plain, std::uint64_t records_per_key = 1 << 20) {
    return runner_.run(shake_hands(runner_.loop(), std::move(plain), key_, key_, records_per_key));
  }
  /// The same, where a side may wait for what never comes: a time-out is a failure as good as any.
  Result<Ends> encrypt_in_time(Ends plain) {
    Task<Ends> both = shake_hands(runner_.loop(), std::move(plain), key_, key_, 1 << 20);
    const auto deadline = Clock::now() + std::chrono::milliseconds(100);
    return runner_.run(runner_.loop().within(deadline, std::move(both), "shake hands"));
  }

  LoopThread runner_;
  const TlsKey key_ = fresh_tls_key().value();
};

TEST(TlsKey, IsReadAsItIsWrittenAndInHexadecimal) {
  const TlsKey key = fresh_tls_key().value();
  EXPECT_EQ(tls_key_text(key).size(), 43u);
  EXPECT_EQ(parse_tls_key(tls_key_text(key)), key);
  TlsKey counted{};
  for (std::size_t i = 0; i < counted.size(); ++i) counted[i] = static_cast<std::byte>(i * 8 + 3);
  EXPECT_EQ(parse_tls_key("030B131b232b333b434b535b636b737b838b939ba3abb3bbc3cbd3dbe3ebf3fb"),
            counted);
  EXPECT_EQ(tls_key_text(counted), "AwsTGyMrMztDS1NbY2tze4OLk5ujq7O7w8vT2-Pr8_s");
}

TEST(TlsKey, IsNothingElseAndIsNotRepeatedByTheError) {
  const std::string good = tls_key_text(fresh_tls_key().value());
  for (std::string bad : {std::string(), good.substr(1), good + "A", std::string(43, '!'),
                          std::string(64, 'g'), std::string(42, 'A') + "B"}) {
    const auto key = parse_tls_key(bad);
    EXPECT_EQ(code_of(key), Errc::usage) << bad;
    if (!bad.empty()) {
      EXPECT_THAT(text_of(key), Not(HasSubstr(bad)));
    }
  }
}

TEST_F(TlsLine, SaysWhatProtectsIt) {
  const Ends ends = encrypt(buffers()).value();
  for (const Channel* end : {ends.client.get(), ends.server.get()}) {
    EXPECT_TRUE(end->info().encrypted);
    EXPECT_THAT(end->info().cipher,
                testing::AnyOf("TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"));
  }
}

TEST_F(TlsLine, ReplacesItsKeyAfterSoManyRecords) {
  const Ends ends = encrypt(buffers(), 5).value();
  const std::string sent = noise(100 * 16 * 1024, 1);  // a hundred records, so 19 limits
  std::jthread writer([&] { ASSERT_TRUE(write_all(*ends.client, sent)); });
  const auto got = read_all(*ends.server, sent.size());
  EXPECT_TRUE(got && *got == sent);
  EXPECT_EQ(dynamic_cast<TlsChannel&>(*ends.server).keys_replaced_by_peer(), 19u);
  EXPECT_EQ(dynamic_cast<TlsChannel&>(*ends.client).keys_replaced_by_peer(), 0u);
}

TEST_F(TlsLine, SmallPiecesShareARecordAndALargeOneBeginsItsOwn) {
  const Ends ends = encrypt(buffers(), 1).value();  // a key a record: they can be counted
  const std::string header = noise(2 * 1024, 1);
  const std::string pages = noise(62 * 1024, 2);
  std::vector<iovec> message;
  for (std::size_t at = 0; at < header.size(); at += 512) {
    message.push_back(piece_of(std::as_bytes(std::span(header).subspan(at, 512))));
  }
  message.push_back(piece_of(std::as_bytes(std::span(pages))));
  std::jthread writer([&] { ASSERT_TRUE(ends.client->write(message)); });
  const auto got = read_all(*ends.server, header.size() + pages.size());
  EXPECT_TRUE(got && *got == header + pages);
  EXPECT_EQ(dynamic_cast<TlsChannel&>(*ends.server).keys_replaced_by_peer(), 4u);  // of 1 + 4
}

TEST_F(TlsLine, ProvesTheSameAtBothEndsAndAnotherThingElsewhere) {
  const Ends ends = encrypt(buffers()).value();
  const Ends others = encrypt(buffers()).value();
  const std::vector<std::byte> secret(32, std::byte{7});
  const std::vector<std::byte> another(32, std::byte{8});
  const auto proof = ends.client->facets().binding->prove(secret, 3);
  EXPECT_EQ(ends.server->facets().binding->prove(secret, 3), proof);
  EXPECT_NE(ends.server->facets().binding->prove(secret, 4), proof);
  EXPECT_NE(ends.server->facets().binding->prove(another, 3), proof);
  EXPECT_NE(others.server->facets().binding->prove(secret, 3), proof);
}

TEST_F(TlsLine, AWrongKeyIsAFailureToProveWhoOneIs) {
  const TlsKey another = fresh_tls_key().value();
  const auto ends =
      runner_.run(shake_hands(runner_.loop(), buffers(), key_, another, std::uint64_t{1} << 20));
  EXPECT_EQ(code_of(ends), Errc::auth);
  EXPECT_THAT(text_of(ends), HasSubstr("wrong key"));
}

constexpr std::size_t k_said_bytes = 20'000;

/// Says something and finishes; what the other end made of it. The handshake may fail already.
Result<std::string> hear(Result<Ends> ends) {
  if (!ends) return std::unexpected(std::move(ends).error());
  std::jthread writer([&] {
    if (write_all(*ends->client, noise(k_said_bytes, 9))) (void)ends->client->finish();
  });
  auto heard = read_all(*ends->server, k_said_bytes + 1);
  ends->server->cancel();  // a writer that is cut off is not left waiting
  return heard;
}

class FaultyTlsLine : public TlsLine {
 protected:
  /// With faults in what the server reads.
  Result<std::string> hear_with(Faults faults) {
    Ends plain = buffers();
    FaultyOptions options;
    options.reading = faults;
    plain.server = make_faulty(std::move(plain.server), options);
    return hear(encrypt_in_time(std::move(plain)));
  }
  /// Offsets that matter: every `step`th of the handshake's and of the goodbye's, some of the
  /// data's; until a fault comes too late to be one. `judge` returns false there.
  template <class Judge>
  void at_many_offsets(std::uint64_t step, Judge judge) {
    std::uint64_t offset = 0;
    while (judge(offset)) {
      const bool in_data = offset >= 1000 && offset < k_said_bytes;
      offset += in_data ? 997 : step;
      ASSERT_LT(offset, 2 * k_said_bytes);
    }
    EXPECT_GT(offset, k_said_bytes);
  }
};

TEST_F(FaultyTlsLine, ACutAtAnyByteIsNoEnd) {
  const std::string said = noise(k_said_bytes, 9);
  at_many_offsets(1, [&](std::uint64_t offset) {
    const auto heard = hear_with({.cut_after = offset});
    if (heard && *heard == said) return false;
    EXPECT_FALSE(heard) << "cut after " << offset << ": an end was read";
    return true;
  });
}

TEST_F(FaultyTlsLine, AFlippedBitIsNeverRead) {
  const std::string said = noise(k_said_bytes, 9);
  at_many_offsets(3, [&](std::uint64_t offset) {
    const auto heard = hear_with({.flip_at = offset});
    if (heard) {
      EXPECT_EQ(*heard, said) << "flipped at " << offset;
    }
    return !heard || offset < k_said_bytes;
  });
}

TEST_F(TlsLine, AFinishBelowIsNoGoodbye) {
  // Somebody on the way ends the line in good order, as anybody can end a TCP connection.
  auto [client, near] = make_buffer_pair(64 * 1024);
  auto [far, server] = make_buffer_pair(64 * 1024);
  std::jthread up([&] {
    std::string all;
    for (;;) {
      auto some = read_once(*near);
      if (!some || some->empty() || all.size() > 30'000) break;
      all += *some;
      if (!write_all(*far, *some)) return;
    }
    (void)far->finish();
  });
  std::jthread down([&] {
    for (;;) {
      auto some = read_once(*far);
      if (!some || some->empty() || !write_all(*near, *some)) return;
    }
  });
  const Ends ends = encrypt({std::move(client), std::move(server)}).value();
  std::jthread writer([&] { (void)write_all(*ends.client, noise(1 << 20, 2)); });
  const auto heard = read_all(*ends.server, 1 << 20);
  EXPECT_EQ(code_of(heard), Errc::disconnected);
  EXPECT_THAT(text_of(heard), HasSubstr("without TLS's goodbye"));
  ends.client->cancel();
  ends.server->cancel();
}

/// As many who say nothing as the system lets us have, and then somebody who speaks.
Task<Ends> meet_among_the_silent(EventLoop& loop, Transport& tls, std::vector<UniqueFd>& silent) {
  const Uri at = co_await Uri::parse("tls://127.0.0.1:0");
  const std::unique_ptr<Listener> listener = co_await tls.listen(loop, at);
  for (UniqueFd& line : silent) {
    line = raw_connection(any_address(AF_INET, listener->local().port));
  }
  Ends ends;
  ends.client = co_await tls.connect(loop, listener->local());
  ends.server = co_await listener->accept();
  co_return std::move(ends);
}

TEST(TlsListener, ManyWhoSayNothingDelayNobody) {
  const DescriptorLimit all(RLIM_INFINITY);
  LoopThread runner;
  const auto tls = make_tls_transport({});
  std::vector<UniqueFd> silent(600);  // more than may be in the middle of a handshake
  const auto ends = runner.run(meet_among_the_silent(runner.loop(), *tls, silent));
  EXPECT_TRUE(ends) << text_of(ends);
  EXPECT_TRUE(silent.back());
}

/// Fills the line of one end until nothing more goes in: nobody reads at the other.
Result<void> stuff(Channel& channel) {
  const std::string much = noise(64 * 1024, 4);
  const auto pieces = pieces_of(much, much.size());
  for (;;) {
    const Pollable::Step step = FERRY_TRY(channel.facets().pollable->try_write_some(pieces));
    if (step.wait_for != Interest::none) return {};
  }
}

TEST_F(TlsLine, AGoodbyeToAPeerThatDoesNotReadLeavesTheLoopFree) {
  auto plain = make_socket_pair().value();
  const Ends ends = encrypt({std::move(plain.first), std::move(plain.second)}).value();
  ASSERT_TRUE(stuff(*ends.server));
  // The loop itself ends the wait: were it blocked, this would wait for ever.
  const auto deadline = Clock::now() + std::chrono::milliseconds(50);
  const auto said = runner_.run(
      runner_.loop().within(deadline, finish(runner_.loop(), *ends.server), "say goodbye"));
  EXPECT_EQ(code_of(said), Errc::timed_out);
}

/// Two channels one after the other, as a session's are. A client hears of the server's session
/// with the first bytes that it reads.
Task<std::vector<Ends>> meet_twice(
    EventLoop& loop, Transport& tls, std::function<void()> meanwhile = [] {}) {
  const Uri at = co_await Uri::parse("tls://127.0.0.1:0");
  const std::unique_ptr<Listener> listener = co_await tls.listen(loop, at);
  std::vector<Ends> lines;
  for (int i = 0; i < 2; ++i) {
    Ends ends;
    ends.client = co_await tls.connect(loop, listener->local());
    ends.server = co_await listener->accept();
    std::vector<std::byte> answer(1);
    co_await write_all(loop, *ends.server, answer);
    co_await read_exactly(loop, *ends.client, std::span<std::byte>(answer));
    lines.push_back(std::move(ends));
    if (i == 0) meanwhile();
  }
  co_return std::move(lines);
}

bool resumed(const std::unique_ptr<Channel>& channel) {
  return dynamic_cast<TlsChannel&>(*channel).resumed();
}

/// A folder of certificates for both sides, and a transport that uses them.
class TlsResumption : public testing::Test {
 protected:
  TlsResumption() { Certificates::fill(folder_, "server", "client"); }
  std::unique_ptr<Transport> transport(TlsVersion version = TlsVersion::v1_3) const {
    TlsOptions options;
    options.folder = folder_.path();
    options.version = version;
    return make_tls_transport(std::move(options));
  }

  const TempFolder folder_;
  LoopThread runner_;
  const std::unique_ptr<Transport> tls_ = transport();
};

ChannelBinding::Proof proof_of(const std::unique_ptr<Channel>& channel) {
  const std::vector<std::byte> secret(32, std::byte{7});
  return channel->facets().binding->prove(secret, 0);
}

TEST_F(TlsResumption, WithCertificatesALaterChannelResumesTheFirstHandshake) {
  const auto lines = runner_.run(meet_twice(runner_.loop(), *tls_));
  ASSERT_TRUE(lines) << text_of(lines);
  EXPECT_FALSE(resumed((*lines)[0].client) || resumed((*lines)[0].server));
  EXPECT_TRUE(resumed((*lines)[1].client) && resumed((*lines)[1].server));
  // Each is bound to itself all the same.
  EXPECT_NE(proof_of((*lines)[0].client), proof_of((*lines)[1].client));
}

TEST_F(TlsResumption, WithAKeyEachChannelProvesItAnew) {
  TlsOptions options;
  options.key = tls_key_text(fresh_tls_key().value());
  const auto tls = make_tls_transport(options);
  const auto lines = runner_.run(meet_twice(runner_.loop(), *tls));
  ASSERT_TRUE(lines) << text_of(lines);
  for (const Ends& ends : *lines) EXPECT_FALSE(resumed(ends.client) || resumed(ends.server));
}

TEST_F(TlsResumption, AnotherReceiverWithTheSameCertificateGetsAHandshakeInFull) {
  ASSERT_TRUE(runner_.run(meet_twice(runner_.loop(), *tls_)));
  const auto lines = runner_.run(meet_twice(runner_.loop(), *tls_));
  ASSERT_TRUE(lines) << text_of(lines);
  EXPECT_FALSE(resumed((*lines)[0].client) || resumed((*lines)[0].server));
}

TEST_F(TlsResumption, AReceiverThatWasRevokedMeanwhileIsRefused) {
  const auto lines = runner_.run(meet_twice(runner_.loop(), *tls_, [&] {
    std::filesystem::copy_file(Certificates::all() / "revoked-server.pem", folder_ / "ca-crl.pem");
  }));
  EXPECT_EQ(code_of(lines), Errc::auth);
  EXPECT_THAT(text_of(lines), HasSubstr("its certificate was revoked"));
}

TEST_F(TlsResumption, AnotherAuthorityBesideTheFirstMakesAHandshakeInFull) {
  const auto lines = runner_.run(meet_twice(runner_.loop(), *tls_, [&] {
    std::ofstream(folder_ / "ca-cert.pem", std::ios::app) << read_file(folder_ / "client-cert.pem");
  }));
  ASSERT_TRUE(lines) << text_of(lines);
  EXPECT_FALSE(resumed((*lines)[1].client) || resumed((*lines)[1].server));
}

TEST_F(TlsResumption, WithTls12EachHandshakeIsInFullAndEachChannelBoundToItself) {
  const auto tls = transport(TlsVersion::v1_2);
  const auto lines = runner_.run(meet_twice(runner_.loop(), *tls));
  ASSERT_TRUE(lines) << text_of(lines);
  for (const Ends& ends : *lines) {
    EXPECT_THAT(ends.client->info().cipher, testing::StartsWith("TLS_ECDHE_"));
    EXPECT_FALSE(resumed(ends.client) || resumed(ends.server));
    EXPECT_EQ(proof_of(ends.client), proof_of(ends.server));
  }
  EXPECT_NE(proof_of((*lines)[0].client), proof_of((*lines)[1].client));
}

/// A client of one version and a server of another: what each makes of it.
struct Judgements {
  Result<std::unique_ptr<Channel>> client;
  Result<std::unique_ptr<Channel>> server;
};
Task<Judgements> meet_as_strangers(EventLoop& loop, Transport& client, Transport& server) {
  const Uri at = co_await Uri::parse("tls://127.0.0.1:0");
  const std::unique_ptr<Listener> listener = co_await server.listen(loop, at);
  Judgements both;
  both.client = co_await client.connect(loop, listener->local()).caught();
  both.server = co_await listener->accept().caught();
  co_return std::move(both);
}

TEST_F(TlsResumption, TwoVersionsDoNotMeetAndBothSidesSaySo) {
  const auto older = transport(TlsVersion::v1_2);
  for (const bool client_is_older : {true, false}) {
    Transport& client = client_is_older ? *older : *tls_;
    Transport& server = client_is_older ? *tls_ : *older;
    const auto both = runner_.run(meet_as_strangers(runner_.loop(), client, server));
    ASSERT_TRUE(both) << text_of(both);
    for (const auto* side : {&both->client, &both->server}) {
      EXPECT_EQ(code_of(*side), Errc::auth);
      EXPECT_THAT(text_of(*side), HasSubstr("--tls-version must be the same on both sides"));
    }
  }
}

TEST_F(TlsResumption, WithTls12ALineEndsBeforeItsKeyProtectsTooMuch) {
  TlsOptions options;
  options.folder = folder_.path();
  options.version = TlsVersion::v1_2;
  options.records_per_key = 16;
  const auto tls = make_tls_transport(options);
  auto lines = runner_.run(meet_twice(runner_.loop(), *tls));
  ASSERT_TRUE(lines) << text_of(lines);
  Channel& client = *lines->front().client;
  const Wear* const wear = client.facets().wear;
  ASSERT_NE(wear, nullptr);
  EXPECT_TRUE(write_all(client, noise(13 * 16 * 1024, 3)));
  EXPECT_FALSE(wear->worn());
  EXPECT_TRUE(write_all(client, noise(16 * 1024, 3)));
  EXPECT_TRUE(wear->worn()) << "seven eighths have gone";
  EXPECT_TRUE(write_all(client, noise(2 * 16 * 1024, 3)));
  const auto more = write_all(client, "x");
  EXPECT_EQ(code_of(more), Errc::unsupported);
  EXPECT_THAT(text_of(more), HasSubstr("its TLS key has protected as much as it may"));
}

TEST_F(TlsResumption, TheKernelEncryptsWhereItWasAskedToAndCanAndElseAWarningIsThere) {
  TlsOptions options;
  options.folder = folder_.path();
  options.records = TlsRecords::kernel;
  const auto tls = make_tls_transport(options);
  auto lines = runner_.run(meet_twice(runner_.loop(), *tls));
  ASSERT_TRUE(lines) << text_of(lines);
  for (Ends& ends : *lines) {
    EXPECT_EQ(ends.client->info().kernel_tls, ends.client->info().shortfall.empty());
    EXPECT_EQ(ends.client->info().kernel_tls, ends.client->facets().wear != nullptr);
    const std::string sent = noise(3'000'000, 5);
    std::jthread writer([&] { EXPECT_TRUE(write_all(*ends.server, sent)); });
    const auto got = read_all(*ends.client, sent.size());
    EXPECT_TRUE(got && *got == sent) << text_of(got);
  }
}

}  // namespace
}  // namespace ferry::test
