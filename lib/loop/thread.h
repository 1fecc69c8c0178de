// Threads of Ferry's own.
#pragma once

#include <functional>
#include <thread>

#include "ferry/result.h"

namespace ferry {

/// A thread that runs `body`, under a name of at most 15 characters, for ps and debuggers. All
/// signals are blocked in it from its first instruction on: they are the host program's.
/// Errc::system when there is no thread to be had.
Result<std::thread> start_thread(const char* name, std::move_only_function<void()> body);

}  // namespace ferry
