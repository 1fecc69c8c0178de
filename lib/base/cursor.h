// Little-endian numbers, bytes and strings, one field at a time: how every message is read and
// written.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ferry {

/// Reads fields off the front of bytes that somebody else wrote. A field that does not fit whole
/// fails the reader for good: that field and all later ones are zeros or empty, remaining() is 0,
/// and ok() is false. So a decoder may read all of its fields and ask once; only what sizes a loop
/// or an allocation has to be compared with remaining() first. Borrows the bytes.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> from) noexcept : rest_(from) {}

  std::uint8_t u8() noexcept { return number<std::uint8_t>(); }
  std::uint16_t u16() noexcept { return number<std::uint16_t>(); }
  std::uint32_t u32() noexcept { return number<std::uint32_t>(); }
  std::uint64_t u64() noexcept { return number<std::uint64_t>(); }

  /// The next `count` bytes, in place; empty where there are fewer.
  std::span<const std::byte> bytes(std::size_t count) noexcept {
    if (count > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const auto taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }

  template <std::size_t N>
  std::array<std::byte, N> array() noexcept {
    std::array<std::byte, N> out{};
    std::ranges::copy(bytes(N), out.begin());
    return out;
  }

  /// A string behind its length, a u16.
  std::string string() {
    const auto text = bytes(u16());
    std::string out(text.size(), '\0');
    std::ranges::transform(text, out.begin(), [](std::byte b) { return static_cast<char>(b); });
    return out;
  }

  std::size_t remaining() const noexcept { return rest_.size(); }
  bool ok() const noexcept { return ok_; }

 private:
  template <std::unsigned_integral T>
  T number() noexcept {
    const auto field = bytes(sizeof(T));
    T value = 0;
    for (std::size_t i = 0; i < field.size(); ++i) {
      value = static_cast<T>(value | static_cast<T>(std::to_integer<T>(field[i]) << (8 * i)));
    }
    return value;
  }

  std::span<const std::byte> rest_;
  bool ok_ = true;
};

/// Appends fields to a vector, which it borrows.
class ByteWriter {
 public:
  explicit ByteWriter(std::vector<std::byte>& out) noexcept : out_(out) {}

  void u8(std::uint8_t value) { number(value); }
  void u16(std::uint16_t value) { number(value); }
  void u32(std::uint32_t value) { number(value); }
  void u64(std::uint64_t value) { number(value); }

  void bytes(std::span<const std::byte> from) { out_.insert(out_.end(), from.begin(), from.end()); }

  /// A string behind its length, a u16: at most 65535 bytes (asserted).
  void string(std::string_view text) {
    assert(text.size() <= UINT16_MAX);
    u16(static_cast<std::uint16_t>(text.size()));
    bytes(std::as_bytes(std::span(text)));
  }

  /// Writes over what stands at `offset`: for a length that is known only at the end.
  void overwrite_u32(std::size_t offset, std::uint32_t value) noexcept {
    assert(offset <= out_.size() && sizeof value <= out_.size() - offset);
    store(out_.data() + offset, value);
  }

  std::size_t size() const noexcept { return out_.size(); }

 private:
  template <std::unsigned_integral T>
  static void store(std::byte* at, T value) noexcept {
    for (std::size_t i = 0; i < sizeof(T); ++i) at[i] = static_cast<std::byte>(value >> (8 * i));
  }

  template <std::unsigned_integral T>
  void number(T value) {
    std::array<std::byte, sizeof(T)> field;
    store(field.data(), value);
    bytes(field);
  }

  std::vector<std::byte>& out_;
};

}  // namespace ferry
