// QEMU's own migration, of a guest that never runs, to another and into a file: what Ferry is
// measured beside.
#pragma once

#include <cstdint>
#include <string>

#include "bench/measure.h"
#include "ferry/result.h"

namespace ferry::bench {

/// One guest on its way from a QEMU to another on this host, over multifd channels.
struct QemuMigration {
  std::string program;  ///< qemu-system-x86_64
  std::string
      certificates;    ///< a folder with the names that QEMU expects, for localhost; empty: no TLS
  std::string source;  ///< a file that is the guest's memory
  std::string destination;  ///< likewise; made, checked against the source, and removed
  std::uint64_t bytes = 0;  ///< of memory
  unsigned channels = 1;
};

/// Measured is from the command to migrate to the end on both sides, and what both processes used
/// in between. Both have their memory populated before.
Result<Run> qemu_memory(const QemuMigration& migration);

/// One guest into a file, which QEMU is handed open.
struct QemuSnapshot {
  std::string program;      ///< qemu-system-x86_64
  std::string memory;       ///< a file that is the guest's memory
  std::string output;       ///< overwritten, and the caller's to remove
  std::uint64_t bytes = 0;  ///< of memory
};

/// Measured is from the command to migrate until the file is on the disk; the time of the
/// processor is QEMU's in between, and that of the last fsync, which is ours. When it begins, the
/// file that is its memory has nothing left to be written to its disk.
Result<Run> qemu_snapshot(const QemuSnapshot& snapshot);

}  // namespace ferry::bench
