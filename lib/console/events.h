// The events that a command says with --json: one object a line. The man pages have the fields.
#pragma once

#include <string>
#include <string_view>

#include "ferry/guest.h"
#include "ferry/result.h"
#include "ferry/uri.h"

namespace ferry {

/// What the process has used up so far.
struct Usage {
  double cpu_seconds = 0;               ///< of all threads, user and system
  std::uint64_t peak_memory_bytes = 0;  ///< the largest resident set so far (VmHWM)
};

/// Each without the line's end, in ASCII and UTF-8 alone whatever a peer said.
std::string listening_event(const Uri& local, std::string_view command);
std::string progress_event(const Progress& progress);
std::string warning_event(std::string_view text);
std::string done_event(const Report& report, const Usage& usage);
std::string failed_event(const Error& error);
std::string unknown_event(const Error& error);

}  // namespace ferry
