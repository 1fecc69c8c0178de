// Several descriptors as one.
#pragma once

#include <initializer_list>

#include "ferry/result.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// A descriptor that is readable as long as one of `fds` is, which stay the caller's and outlive
/// it.
Result<UniqueFd> make_wait_set(std::initializer_list<int> fds);

}  // namespace ferry
