// QEMU's own migration, of a guest that never runs: what Ferry is measured beside.
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

}  // namespace ferry::bench
