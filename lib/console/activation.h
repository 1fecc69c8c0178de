// Sockets that systemd opens for a service.
#pragma once

#include <string>

#include "ferry/result.h"

namespace ferry {

/// What systemd says in the environment of a process that it has opened sockets for
/// (sd_listen_fds(3)): the values of the two variables, null where they are not set.
struct Activation {
  const char* listen_pid = nullptr;
  const char* listen_fds = nullptr;

  /// The address of the socket ("fd:3"); empty where there is none for this process. Errc::usage
  /// where there is more than one.
  Result<std::string> uri() const;
};

}  // namespace ferry
