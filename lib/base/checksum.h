// The checksums of the wire and the digest of a region. They find damage, not forgery: a peer that
// lies can make them agree.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace ferry {

/// XXH3-64, seed 0. About the speed of memory. Thread-safe.
std::uint64_t xxh3_64(std::span<const std::byte> bytes) noexcept;

/// The next link of a chain whose links so far are worth `previous`: XXH3-64 of the two numbers as
/// sixteen little-endian bytes. A chain begins at 0; equal chains mean equal values in equal order.
std::uint64_t chain(std::uint64_t previous, std::uint64_t value) noexcept;

/// XXH3-128, seed 0, of bytes that come piece by piece. Where the pieces are cut does not matter.
/// Used by one thread at a time.
class StreamDigest {
 public:
  StreamDigest();
  ~StreamDigest();
  StreamDigest(StreamDigest&&) noexcept;
  StreamDigest& operator=(StreamDigest&&) noexcept;

  void update(std::span<const std::byte> bytes) noexcept;
  /// Of everything so far, in the canonical form: big-endian. More may follow.
  std::array<std::byte, 16> value() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ferry
