// What a bad network does, and where: faults as text, and out of a seed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ferry/result.h"

namespace ferry::test {

/// up: from who connected to the one that listens.
enum class Direction { up, down };

/// One thing that happens at one place in the bytes of one connection.
struct Fault {
  enum class Act {
    flip,     ///< bit `amount` (0 to 7) of the byte is turned over
    cut,      ///< the bytes before it pass, then both ends are closed
    stall,    ///< from here on nothing passes in this direction, and nobody is told
    delay,    ///< the byte, and all behind it, wait for `amount` milliseconds
    reorder,  ///< after the first connection, `amount` of them are joined on in reverse order
  };
  Act act = Act::flip;
  unsigned connection = 0;  ///< counted from 0 as they are accepted; 0 for a reorder
  Direction direction = Direction::up;
  std::uint64_t offset = 0;  ///< in bytes of that direction
  unsigned amount = 0;
  friend bool operator==(const Fault&, const Fault&) = default;
};

/// `flip:1:up:4096:3`, `cut:0:down:100`, `stall:...`, `delay:0:up:84:250`, `reorder:3`.
std::string to_text(const Fault& fault);
/// Errc::usage.
Result<Fault> parse_fault(std::string_view text);
/// The same for several, with commas between them; an empty text has none.
std::string to_text(const std::vector<Fault>& faults);
Result<std::vector<Fault>> parse_faults(std::string_view text);

/// One fault, or sometimes two, for a session of `lanes` page channels that carry about `bytes`
/// each. The same ones for a seed on every machine.
std::vector<Fault> faults_of(std::uint64_t seed, unsigned lanes, std::uint64_t bytes);

}  // namespace ferry::test
