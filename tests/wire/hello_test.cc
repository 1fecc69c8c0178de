#include "wire/hello.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/wire/forge.h"

namespace ferry::wire {
namespace {

Hello some_hello() {
  return {.version_min = 1,
          .version_max = 2,
          .session = counting_from<16>(0x10),
          .role = Role::page,
          .index = 254,
          .path_id = 0x01020304,
          .critical_features = 0x11121314,
          .optional_features = 0x21222324,
          .proof = counting_from<32>(0x40)};
}

HelloAck some_ack() {
  return {.verdict = HelloAck::Verdict::busy,
          .version = 1,
          .session = counting_from<16>(0x10),
          .critical_features = 0x11121314,
          .optional_features = 0x21222324,
          .reason = "another migration is in progress"};
}

/// The message with bytes of extensions before its checksum.
Bytes with_extensions(Bytes message, const Bytes& extensions) {
  message.insert(message.end() - 8, extensions.begin(), extensions.end());
  return resealed(message);
}

Bytes extension(std::uint16_t type, std::size_t length) {
  Bytes out;
  ByteWriter writer(out);
  writer.u16(type);
  writer.u16(static_cast<std::uint16_t>(length));
  out.resize(out.size() + length);
  return out;
}

TEST(Hello, HasTheseBytes) {
  const Bytes golden = from_hex(
      "46525948 54000000 0100 0200 101112131415161718191a1b1c1d1e1f 0200 fe00 04030201 14131211"
      "24232221 404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f 13fbf4b6568a9599");
  EXPECT_EQ(to_hex(encode(some_hello())), to_hex(golden));
  EXPECT_EQ(decode_hello(golden), some_hello());
}

TEST(HelloAck, HasTheseBytes) {
  const Bytes golden = from_hex(
      "46525941 4e000000 0200 0100 101112131415161718191a1b1c1d1e1f 14131211 24232221 2000"
      "616e6f74686572206d6967726174696f6e20697320696e2070726f6772657373 84da476eace84cfd");
  EXPECT_EQ(to_hex(encode(some_ack())), to_hex(golden));
  EXPECT_EQ(decode_hello_ack(golden), some_ack());
}

TEST(Hello, ComesOutAsItWentIn) {
  std::mt19937_64 random(1);
  for (int trial = 0; trial < 200; ++trial) {
    Hello hello;
    hello.version_min = static_cast<std::uint16_t>(random() % 100);
    hello.version_max = static_cast<std::uint16_t>(hello.version_min + random() % 100);
    std::ranges::generate(hello.session, [&] { return static_cast<std::byte>(random()); });
    hello.role = static_cast<Role>(random() & 0xffff);
    hello.index = static_cast<std::uint16_t>(random());
    hello.path_id = static_cast<std::uint32_t>(random());
    hello.critical_features = static_cast<std::uint32_t>(random());
    hello.optional_features = static_cast<std::uint32_t>(random());
    std::ranges::generate(hello.proof, [&] { return static_cast<std::byte>(random()); });
    const Bytes message = encode(hello);
    ASSERT_EQ(hello_length(std::span(message).first(k_prologue_bytes)).value(), message.size());
    ASSERT_EQ(decode_hello(message), hello);
  }
}

TEST(HelloAck, ComesOutAsItWentIn) {
  std::mt19937_64 random(2);
  for (int trial = 0; trial < 200; ++trial) {
    HelloAck ack;
    ack.verdict = static_cast<HelloAck::Verdict>(random() & 0xffff);
    ack.version = static_cast<std::uint16_t>(random());
    std::ranges::generate(ack.session, [&] { return static_cast<std::byte>(random()); });
    ack.critical_features = static_cast<std::uint32_t>(random());
    ack.optional_features = static_cast<std::uint32_t>(random());
    ack.reason.resize(random() % (k_max_text_bytes + 1));
    std::ranges::generate(ack.reason, [&] { return static_cast<char>(' ' + random() % 95); });
    const Bytes message = encode(ack);
    ASSERT_EQ(hello_ack_length(std::span(message).first(k_prologue_bytes)).value(), message.size());
    ASSERT_EQ(decode_hello_ack(message), ack);
  }
}

TEST(Hello, AnyDamageIsRefused) {
  expect_damage_is_refused(encode(some_hello()), decode_hello);
  expect_damage_is_refused(encode(some_ack()), decode_hello_ack);
}

TEST(Hello, AnythingElseIsRefusedOrMeansWhatItSays) {
  const auto encoded = [](const auto& value) { return encode(value); };
  expect_mutants_are_refused_or_mean_themselves(encode(some_hello()), decode_hello, encoded);
  expect_mutants_are_refused_or_mean_themselves(
      encode(some_ack()), decode_hello_ack, [](const HelloAck& ack) {
        // A reason that had to be escaped is not what was sent; a shorter one left an extension.
        return ack.reason.size() == some_ack().reason.size() ? encode(ack) : Bytes{};
      });
}

TEST(Hello, ARangeOfVersionsMayHoldOneButNotNone) {
  Hello hello;
  hello.version_min = hello.version_max = 7;
  EXPECT_TRUE(decode_hello(encode(hello)));
  hello.version_min = 8;
  EXPECT_EQ(code_of(decode_hello(encode(hello))), Errc::protocol);
}

TEST(Hello, AnUnknownExtensionIsIgnoredUnlessItIsCritical) {
  const Bytes hello = encode(some_hello());
  const Bytes ack = encode(some_ack());
  for (const std::size_t length : {0, 1, 100}) {
    const Bytes optional = extension(0x7fff, length);
    EXPECT_EQ(decode_hello(with_extensions(hello, optional)), some_hello());
    EXPECT_EQ(decode_hello_ack(with_extensions(ack, optional)), some_ack());

    Bytes critical = optional;
    std::ranges::copy(extension(k_critical_extension, length), std::back_inserter(critical));
    EXPECT_EQ(code_of(decode_hello(with_extensions(hello, critical))), Errc::unsupported);
    EXPECT_EQ(code_of(decode_hello_ack(with_extensions(ack, critical))), Errc::unsupported);
  }
}

TEST(Hello, AnExtensionThatEndsPastTheMessageIsRefused) {
  for (const std::uint16_t type : {std::uint16_t{1}, k_critical_extension}) {
    Bytes cut = extension(type, 10);
    cut.pop_back();
    EXPECT_EQ(code_of(decode_hello(with_extensions(encode(some_hello()), cut))), Errc::protocol);
    EXPECT_EQ(code_of(decode_hello_ack(with_extensions(encode(some_ack()), cut))), Errc::protocol);
  }
}

TEST(HelloAck, MayCarryASecretAndOnlyOneOfTheRightSize) {
  HelloAck ack = some_ack();
  ack.secret.emplace().fill(std::byte{0x5c});
  EXPECT_EQ(decode_hello_ack(encode(ack)), ack);
  EXPECT_EQ(
      code_of(decode_hello_ack(with_extensions(encode(ack), extension(k_secret_extension, 32)))),
      Errc::protocol);
  for (const std::size_t length : {0, 31, 33}) {
    const Bytes wrong = with_extensions(encode(some_ack()), extension(k_secret_extension, length));
    EXPECT_EQ(code_of(decode_hello_ack(wrong)), Errc::protocol) << length;
  }
}

TEST(Hello, HasALengthAtMost) {
  const Bytes hello = encode(some_hello());
  const std::size_t room = k_max_hello_bytes - hello.size() - 4;
  EXPECT_TRUE(decode_hello(with_extensions(hello, extension(1, room))));
  EXPECT_EQ(code_of(decode_hello(with_extensions(hello, extension(1, room + 1)))), Errc::protocol);

  const Bytes ack = encode(some_ack());
  const std::size_t more_room = k_max_hello_bytes - ack.size() - 4;
  EXPECT_TRUE(decode_hello_ack(with_extensions(ack, extension(1, more_room))));
  EXPECT_EQ(code_of(decode_hello_ack(with_extensions(ack, extension(1, more_room + 1)))),
            Errc::protocol);
}

TEST(HelloAck, AReasonIsCutWhenWrittenAndRefusedWhenLonger) {
  HelloAck ack = some_ack();
  ack.reason.assign(k_max_text_bytes, 'a');
  Bytes longest = encode(ack);
  EXPECT_EQ(decode_hello_ack(longest), ack);

  HelloAck longer = ack;
  longer.reason += "b";
  EXPECT_EQ(decode_hello_ack(encode(longer)), ack);

  constexpr std::size_t k_reason_offset = 38;
  longest.insert(longest.begin() + k_reason_offset, std::byte{'b'});
  longest[k_reason_offset - 2] = std::byte{(k_max_text_bytes + 1) & 0xff};
  longest[k_reason_offset - 1] = std::byte{(k_max_text_bytes + 1) >> 8};
  EXPECT_EQ(code_of(decode_hello_ack(resealed(longest))), Errc::protocol);
}

TEST(HelloAck, AReasonCannotCommandATerminal) {
  HelloAck ack = some_ack();
  ack.reason = "no\x1b[2Jroom\n";
  EXPECT_EQ(decode_hello_ack(encode(ack))->reason, "no\\x1b[2Jroom\\x0a");
}

}  // namespace
}  // namespace ferry::wire
