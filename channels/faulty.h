// A channel that misbehaves as it is told: the tests' double for bad lines and slow peers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "ferry/channel.h"

namespace ferry {

/// What goes wrong in one direction. Offsets count that direction's bytes from 0.
struct Faults {
  /// At most so many bytes a call, of ours to the channel within; 0: as many as it takes. A read
  /// comes back short, a write is passed on in pieces.
  std::size_t most_a_call = 0;
  /// After so many bytes the direction stands still until cancel(): a peer that went silent.
  std::optional<std::uint64_t> stall_after{};
  /// After so many bytes the line is cut: both directions are Errc::disconnected, and the channel
  /// within is destroyed, so that the peer sees what its transport shows of that.
  std::optional<std::uint64_t> cut_after{};
  /// The lowest bit of the byte at this offset is flipped.
  std::optional<std::uint64_t> flip_at{};
};

struct FaultyOptions {
  Faults reading{};
  Faults writing{};
};

/// `inner`, with faults. It has no facets, so that nothing goes past them.
std::unique_ptr<Channel> make_faulty(std::unique_ptr<Channel> inner, FaultyOptions options);

}  // namespace ferry
