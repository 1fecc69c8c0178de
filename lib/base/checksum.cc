#include "base/checksum.h"

#define XXH_STATIC_LINKING_ONLY  // the state's size
#include <xxhash.h>
#if defined(__x86_64__)
// From here on XXH3_64bits and XXH3_128bits_update mean the entry points that look at the
// processor: the plain ones are compiled for SSE2 and reach less than half the speed.
#include <xxh_x86dispatch.h>
#endif

#include <bit>

namespace ferry {

std::uint64_t xxh3_64(std::span<const std::byte> bytes) noexcept {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::uint64_t chain(std::uint64_t previous, std::uint64_t value) noexcept {
  std::array<std::byte, 16> link;
  for (std::size_t i = 0; i < 8; ++i) {
    link[i] = static_cast<std::byte>(previous >> (8 * i));
    link[8 + i] = static_cast<std::byte>(value >> (8 * i));
  }
  return xxh3_64(link);
}

struct StreamDigest::State {
  XXH3_state_t xxh{};
};

StreamDigest::StreamDigest() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(&state_->xxh);
}
StreamDigest::~StreamDigest() = default;
StreamDigest::StreamDigest(StreamDigest&&) noexcept = default;
StreamDigest& StreamDigest::operator=(StreamDigest&&) noexcept = default;

void StreamDigest::update(std::span<const std::byte> bytes) noexcept {
  // The library calls a null pointer an error even where nothing is to be read.
  if (!bytes.empty()) XXH3_128bits_update(&state_->xxh, bytes.data(), bytes.size());
}

std::array<std::byte, 16> StreamDigest::value() const noexcept {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state_->xxh));
  return std::bit_cast<std::array<std::byte, 16>>(canonical);
}

}  // namespace ferry
