// Messages as no honest peer writes them: made by hand, and sealed with a checksum that is right.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/checksum.h"
#include "base/cursor.h"
#include "ferry/result.h"

namespace ferry::wire {

using Bytes = std::vector<std::byte>;

inline constexpr std::uint64_t k_gib = std::uint64_t{1} << 30;

/// first, first + 1, ...
template <std::size_t N>
std::array<std::byte, N> counting_from(unsigned first) {
  std::array<std::byte, N> out;
  std::ranges::generate(out, [&first] { return static_cast<std::byte>(first++); });
  return out;
}

/// Bytes as text, for vectors that must never change: "48 65 6c" with or without the blanks.
inline Bytes from_hex(std::string_view text) {
  Bytes out;
  std::string digits;
  for (const char c : text) {
    if (c != ' ') digits += c;
    if (digits.size() < 2) continue;
    out.push_back(static_cast<std::byte>(std::stoi(digits, nullptr, 16)));
    digits.clear();
  }
  return out;
}

inline std::string to_hex(std::span<const std::byte> bytes) {
  constexpr std::string_view k_digits = "0123456789abcdef";
  std::string out;
  for (const std::byte byte : bytes) {
    out += k_digits[std::to_integer<unsigned>(byte) >> 4];
    out += k_digits[std::to_integer<unsigned>(byte) & 15];
  }
  return out;
}

/// A whole message around `fields`: everything between its prologue and its checksum.
inline Bytes sealed(std::string_view magic, const std::function<void(ByteWriter&)>& fields) {
  Bytes message;
  ByteWriter out(message);
  out.bytes(std::as_bytes(std::span(magic)));
  out.u32(0);
  fields(out);
  out.overwrite_u32(4, static_cast<std::uint32_t>(message.size() + 8));
  out.u64(xxh3_64(message));
  return message;
}

/// The same message with its length and its checksum put right again, after something was done to
/// it.
inline Bytes resealed(Bytes message) {
  message.resize(message.size() - 8);
  ByteWriter out(message);
  out.overwrite_u32(4, static_cast<std::uint32_t>(message.size() + 8));
  out.u64(xxh3_64(message));
  return message;
}

template <class Decoded>
Errc code_of(const Result<Decoded>& decoded) {
  EXPECT_FALSE(decoded) << "it was to be refused";
  return decoded ? Errc::cancelled : decoded.error().code;
}

/// No message that `decode` takes survives a flipped bit, a lost tail, or bytes behind it.
template <class Decode>
void expect_damage_is_refused(const Bytes& message, Decode decode) {
  ASSERT_TRUE(decode(message)) << decode(message).error().text();
  for (std::size_t at = 0; at < message.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      Bytes damaged = message;
      damaged[at] ^= std::byte{1} << bit;
      ASSERT_EQ(code_of(decode(damaged)), Errc::integrity) << "bit " << bit << " of byte " << at;
    }
  }
  for (std::size_t length = 0; length < message.size(); ++length) {
    // Copied, so that the address sanitizer knows where it ends.
    const Bytes cut(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(length));
    ASSERT_FALSE(decode(cut)) << length << " bytes";
    if (length >= 16) {
      ASSERT_EQ(code_of(decode(resealed(cut))), Errc::protocol) << length << " bytes, sealed";
    }
  }
  Bytes longer = message;
  longer.push_back({});
  ASSERT_FALSE(decode(longer));
  ASSERT_EQ(code_of(decode(resealed(longer))), Errc::protocol) << "a byte too many";
}

/// Whatever a peer with the right checksum says is either refused or means what it says: `again`
/// encodes what was decoded, or gives nothing where that need not be the same bytes.
template <class Decode, class Again>
void expect_mutants_are_refused_or_mean_themselves(const Bytes& message, Decode decode,
                                                   Again again) {
  std::mt19937 random(99);
  for (int trial = 0; trial < 3000; ++trial) {
    Bytes mutant = message;
    for (unsigned flips = 1 + random() % 3; flips > 0; --flips) {
      mutant[8 + random() % (mutant.size() - 16)] = static_cast<std::byte>(random());
    }
    mutant = resealed(std::move(mutant));
    const auto decoded = decode(mutant);
    if (!decoded) {
      ASSERT_NE(decoded.error().code, Errc::integrity);
      continue;
    }
    if (const Bytes bytes = again(*decoded); !bytes.empty()) {
      ASSERT_EQ(to_hex(bytes), to_hex(mutant));
    }
  }
}

}  // namespace ferry::wire
