// Guests that run while they are migrated: the programs of examples/, as whole processes.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/measure.h"
#include "ferry/result.h"

namespace ferry::bench {

/// An example that can run here.
struct GuestProgram {
  std::string path;
  std::string workers;  ///< the option that says how many
  std::vector<std::string>
      trackers;  ///< what --tracker may be; one that is empty: it has no choice
};
/// tiny-vmm of the build that this program belongs to, or where it cannot run process-guest.
/// Errc::unsupported where neither can.
Result<GuestProgram> find_guest_program();

/// One guest, from a process to another on this host over tcp, whose memory holds what does not
/// compress, and is populated at the destination.
struct GuestMigration {
  GuestProgram program;
  std::uint64_t bytes = 0;  ///< of memory; at least k_least_guest_bytes, a multiple of 2 MiB
  unsigned workers = 1;
  std::uint64_t dirty_rate = 0;  ///< of all workers, in bytes per second
  std::string tracker{};         ///< empty: the program's own choice
  std::chrono::milliseconds max_downtime{300};
  unsigned channels = 1;
};
inline constexpr std::uint64_t k_least_guest_bytes = std::uint64_t{16} << 20;

/// What came of it. The run's seconds are the engine's, from the first word to the end of the
/// session; what both processes used is from the first word on.
struct GuestRun {
  Run run;
  double downtime_ms = 0;
  double longest_gap_ms = 0;  ///< between two heartbeats, as the guest saw them, on both sides
  double rounds = 0;
  std::uint64_t wire_bytes = 0;
};
/// Errc::guest where the guest found errors in its memory.
Result<GuestRun> migrate_guest(const GuestMigration& migration);

/// The bare limit's copy of so many bytes, while such a guest runs beside it and stays. Here as
/// there the guest has been at all of its memory when it begins.
Result<Run> bare_beside_guest(const GuestMigration& migration, std::uint64_t bytes);

}  // namespace ferry::bench
