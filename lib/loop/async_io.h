// Reading and writing a channel from the loop: for handshakes, where each peer is a Task.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "ferry/channel.h"
#include "ferry/event_loop.h"

namespace ferry {

// Over the channel's Pollable facet where it has one; else by blocking calls on a helper thread.
//
// The channel, and the memory read into, must outlive the Task; nothing else may read (or write)
// the channel meanwhile. A Task that is dropped leaves the channel in the middle of something: it
// is only good for being closed. Where a helper thread was at work the channel is cancelled and the
// drop waits until the thread has let go of it, which is as short as cancel() is prompt.

/// Fills all of `into`. Errc::disconnected when the peer finishes before.
Task<void> read_exactly(EventLoop& loop, Channel& channel, std::span<std::byte> into);

/// Writes and flushes all of `from`.
Task<void> write_all(EventLoop& loop, Channel& channel, std::vector<std::byte> from);

/// Reads and throws away, until the peer finishes or `max_bytes` have come: so that our own last
/// words are not lost to a reset when the channel is closed.
Task<void> drain(EventLoop& loop, Channel& channel, std::size_t max_bytes);

}  // namespace ferry
