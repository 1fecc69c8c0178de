// How a command ends: the numbers that scripts branch on.
#pragma once

#include "ferry/guest.h"
#include "ferry/result.h"

namespace ferry {

enum class ExitCode : int {
  done = 0,            ///< and verified
  internal = 1,        ///< a bug
  usage = 2,           ///< the command line, or something that this build does not have
  unreachable = 3,     ///< resolve, connect, listen, time-out
  refused = 4,         ///< by either side
  integrity = 5,       ///< a checksum or digest differs
  cancelled = 6,       ///< SIGINT, SIGTERM, SIGHUP
  peer_failed = 7,     ///< or the line was cut
  local_io = 8,        ///< unreadable image, disk full
  no_convergence = 9,  ///< a running guest writes faster than the line carries
  unknown_owner = 10,  ///< ask a person
};

ExitCode exit_code(const Error& error) noexcept;
ExitCode exit_code(const Outcome& outcome) noexcept;

}  // namespace ferry
