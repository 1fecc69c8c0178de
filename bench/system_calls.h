// How many system calls a process makes.
#pragma once

#include <cstdint>
#include <optional>

#include "ferry/unique_fd.h"

namespace ferry::bench {

/// Counts the system calls of the thread that makes it, and of every thread started by it later
/// (perf_event_open(2), the tracepoint raw_syscalls:sys_enter). That takes root, or a kernel that
/// allows it to others; elsewhere there is nothing to read.
class SystemCalls {
 public:
  SystemCalls() noexcept;
  /// Since it was made. Nothing where they cannot be counted.
  std::optional<std::uint64_t> so_far() const noexcept;

 private:
  UniqueFd counter_;
};

}  // namespace ferry::bench
