// Is there memory for what is about to be pinned?
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string>

#include "ferry/memory.h"
#include "ferry/result.h"

namespace ferry {

/// What this process may still take, in bytes: of the machine, what is available or can be swapped
/// out for it; of its control groups (version 2), what they leave.
struct MemoryLeft {
  std::uint64_t bytes = UINT64_MAX;  ///< UINT64_MAX: it is not known
  std::string whose = "this machine";
};
MemoryLeft memory_left();

/// How much of these pages is not there yet, in bytes: to pin them takes so much. Regions that are
/// files or huge pages have memory of their own, and count nothing.
std::uint64_t bytes_to_come(const GuestMemory& memory);

/// Can `more` bytes be had? Errc::system, with what is needed, what there is, and what else can be
/// done. `act` begins the error.
Result<void> check_room(std::uint64_t more, const MemoryLeft& left, const std::string& act);

/// Makes those pages come, which takes as long as to zero them; to pin them is quick then. Where
/// the kernel cannot (before 5.14) it does nothing. Errc::cancelled, soon after a stop request.
Result<void> make_come(const GuestMemory& memory, const std::stop_token& stop,
                       const std::string& act);

}  // namespace ferry
