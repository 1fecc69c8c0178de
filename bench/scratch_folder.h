// A folder for all that a benchmark writes, gone when it ends, however it does.
#pragma once

#include <functional>
#include <string>

#include "ferry/result.h"

namespace ferry::bench {

/// Makes a folder in `parent`, and calls `body` with its path, in a process of its own. When that
/// has ended, or was killed, or SIGINT, SIGTERM or SIGHUP comes, which kill it, the folder is
/// removed. Gives what `body` gave back, an exit code; dies of the signal where one came. Called
/// before there is any thread. Errc::system.
Result<int> in_scratch_folder(const std::string& parent,
                              const std::function<int(const std::string& folder)>& body);

}  // namespace ferry::bench
