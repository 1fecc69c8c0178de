// How much memory this process may pin.
#pragma once

#include <cstdint>
#include <string>

#include "ferry/result.h"

namespace ferry {

/// RLIMIT_MEMLOCK, as the kernel applies it to what is registered with RDMA devices.
struct LockLimit {
  static constexpr std::uint64_t k_none = UINT64_MAX;

  std::uint64_t bytes = k_none;  ///< k_none too where CAP_IPC_LOCK lifts it
  std::uint64_t pinned = 0;      ///< by whatever this process has registered so far
};

/// As it is now.
LockLimit lock_limit();

/// May `more` bytes be pinned? Errc::system, with which limit it is, what it is and what it must
/// be. `act` begins the error.
Result<void> check_lockable(std::uint64_t more, const LockLimit& limit, const std::string& act);

}  // namespace ferry
