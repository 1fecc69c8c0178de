// Registered buffers to put pages from.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "ferry/channel.h"
#include "rdma/pinned.h"
#include "rdma/verbs.h"

namespace ferry {

/// A ring of buffers of PlacedIo::k_staging_bytes. A buffer comes round again when the request that
/// used it last has ended. Made and registered when the first one is asked for.
class StagingRing {
 public:
  static constexpr std::size_t k_buffers = 8;

  /// The next one; whether it is free says used_until().
  Result<std::span<std::byte>> next(PinningDomain& domain, const std::string& act);
  /// The last request that uses the buffer that next() gave last.
  std::uint64_t used_until() const noexcept { return used_until_[current_]; }

  /// Are these bytes in one of the buffers?
  bool has(std::span<const std::byte> bytes) const noexcept;
  /// A part of a buffer, for a request of this number.
  void use(std::span<const std::byte> bytes, std::uint64_t request) noexcept;
  std::uint32_t key() const noexcept { return pin_->local_key(); }

 private:
  struct FreeBytes {
    void operator()(std::byte* bytes) const noexcept;
  };
  std::span<std::byte> all() const noexcept;

  std::unique_ptr<std::byte, FreeBytes> memory_;
  PinningDomain::Pin pin_;  // goes first
  std::array<std::uint64_t, k_buffers> used_until_{};
  std::size_t current_ = k_buffers - 1;
};

}  // namespace ferry
