// One direction of a recorded channel, taken apart and put in words.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "ferry/result.h"

namespace ferry::wire {

/// A message (a packet's is its header), or the payload behind a packet's header. Borrows the
/// stream's bytes.
struct Piece {
  enum class Kind { message, payload };
  Kind kind;
  std::span<const std::byte> bytes;
};

/// A stream as its pieces, in order. Errc::protocol where it does not end with one, and what
/// decoding a packet's header says.
Result<std::vector<Piece>> pieces_of(std::span<const std::byte> stream);

/// What every message of a stream means: a line for each, with all of its fields.
Result<std::string> meaning_of(std::span<const std::byte> stream);

}  // namespace ferry::wire
