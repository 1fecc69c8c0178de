#include "channels/tls_key.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <span>

namespace ferry {
namespace {

constexpr std::string_view k_hex_digits = "0123456789abcdef";
constexpr std::string_view k_base64_digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t k_hex_length = 64;
constexpr std::size_t k_base64_length = 43;

/// Digits of so many bits each, the highest first, into bytes; bits beyond the last byte must be 0.
std::optional<TlsKey> decode(std::string_view text, std::string_view digits, unsigned bits_each) {
  TlsKey key{};
  std::size_t filled = 0;
  unsigned bits = 0;
  std::uint32_t pending = 0;
  for (const char c : text) {
    const bool is_upper = c >= 'A' && c <= 'Z';
    const char letter = bits_each == 4 && is_upper ? static_cast<char>(c | 0x20) : c;
    const std::size_t value = digits.find(letter);
    if (value == digits.npos) return std::nullopt;
    pending = (pending << bits_each) | static_cast<std::uint32_t>(value);
    bits += bits_each;
    if (bits < 8) continue;
    bits -= 8;
    key[filled++] = static_cast<std::byte>(pending >> bits);
    pending &= (1U << bits) - 1;
  }
  if (filled != key.size() || pending != 0) return std::nullopt;
  return key;
}

}  // namespace

Result<TlsKey> parse_tls_key(std::string_view text) {
  std::optional<TlsKey> key;
  if (text.size() == k_hex_length) key = decode(text, k_hex_digits, 4);
  if (text.size() == k_base64_length) key = decode(text, k_base64_digits, 6);
  if (key) return *key;
  return fail(Errc::usage, "read the TLS key: it is none",
              "64 hexadecimal digits, or the 43 letters that migrate-recv shows");
}

std::string tls_key_text(const TlsKey& key) {
  std::string text;
  unsigned bits = 0;
  std::uint32_t pending = 0;
  for (const std::byte byte : key) {
    pending = (pending << 8) | static_cast<std::uint32_t>(byte);
    for (bits += 8; bits >= 6; bits -= 6) text += k_base64_digits[(pending >> (bits - 6)) & 63];
    pending &= (1U << bits) - 1;
  }
  if (bits > 0) text += k_base64_digits[(pending << (6 - bits)) & 63];
  return text;
}

Result<TlsKey> fresh_tls_key() {
  TlsKey key;
  // Never cut short: at most 256 bytes are delivered whole.
  if (::getrandom(key.data(), key.size(), 0) == static_cast<ssize_t>(key.size())) return key;
  return fail_sys(Errc::system, errno, "make a TLS key");
}

}  // namespace ferry
