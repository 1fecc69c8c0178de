// A line within this process's memory.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "ferry/channel.h"

namespace ferry {

/// Two ends of one line that holds up to `capacity` bytes (at least 1) each way; a write waits
/// while it is full. The ends may be used in different threads, and either may outlive the other. A
/// peer that finished reads as 0; one that was destroyed before that, or cancelled, is
/// Errc::disconnected, after the bytes that it had written.
std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>> make_buffer_pair(
    std::size_t capacity = 64 * 1024);

}  // namespace ferry
