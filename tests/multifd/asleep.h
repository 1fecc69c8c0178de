// Meeting a named thread of Ferry's in the call that it blocks in.
#pragma once

#include <string_view>

namespace ferry::test {

/// Returns when the kernel says that this process has a thread of this name, and that it sleeps. It
/// makes a test meet the blocked call; no test's verdict may hang on it.
void wait_until_asleep(std::string_view thread_name);

}  // namespace ferry::test
