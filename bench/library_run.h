// Runs in the library, memory to memory: no file, no command. Both sides are processes of their
// own, over tcp on loopback or a unix socket. Measured is from the sender's first step to the end
// of both; mapping and filling memory beforehand, starting the runtimes and checking what arrived
// are not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "bench/bare_limit.h"
#include "bench/measure.h"
#include "ferry/event_loop.h"
#include "ferry/result.h"
#include "ferry/runtime.h"

namespace ferry::bench {

/// What the memory holds.
enum class Kind {
  random,
  half,  ///< 64 KiB of random bytes and 64 KiB of zeros by turns
};

/// What is between the two sides?
enum class Way {
  straight,
  proxy,  ///< nginx, which passes upgraded connections on: for ws, and BareLine::upgraded
};

struct Transfer {
  std::uint64_t bytes = 0;
  unsigned channels = 1;
  BareLine line = BareLine::tcp;
  Kind kind = Kind::random;
  PollerKind poller = PollerKind::automatic;
  std::string scheme{};  ///< Ferry's, over TCP, where it is not that of `line`: "ws"
  Way way = Way::straight;
  unsigned silent_peers = 0;  ///< at the receiver's door, from before the beginning to the end
  /// Ferry encrypts what goes over tcp; without a key and a folder, by a key for one session.
  std::optional<TlsOptions> tls{};
};

/// Where a receiver of such a transfer listens. Errc::unreachable where none can.
Result<std::string> listening_address(const Transfer& transfer);

/// Memory into memory, all pages of both sides there beforehand.
Result<Run> ferry_memory(const Transfer& transfer);
Result<Run> bare_memory(const Transfer& transfer);

/// Device state of so many bytes, in sections of `section_bytes` each, of a guest that has next to
/// no memory. The receiver keeps what is beyond 16 MiB in `folder`, and copies all of it into
/// memory that is there beforehand.
Result<Run> ferry_state(const Transfer& transfer, std::uint64_t section_bytes,
                        const std::string& folder);

/// Resident zeros: `zeros` is a file in memory whose zeros were written down. Measured with the
/// faults of a mapping that nobody has touched yet. The plain loop reads it with as many threads as
/// Ferry has channels, and sends nothing.
Result<Run> ferry_zeros(const Transfer& transfer, int zeros);
Result<Run> plain_read_zeros(const Transfer& transfer, int zeros);

}  // namespace ferry::bench
