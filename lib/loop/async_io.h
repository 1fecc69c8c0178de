// Reading and writing a channel from the loop: for handshakes, where each peer is a Task.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "ferry/channel.h"
#include "ferry/event_loop.h"
#include "ferry/unique_fd.h"

namespace ferry {

// Over the channel's Pollable facet where it has one; else by blocking calls on a helper thread.
//
// The channel, and the memory read into, must outlive the Task; nothing else may read (or write)
// the channel meanwhile. A Task that is dropped leaves the channel in the middle of something: it
// is only good for being closed. Where a helper thread was at work the channel is cancelled and the
// drop waits until the thread has let go of it, which is as short as cancel() is prompt.

/// At least one byte, into the front of `into`; 0 when the peer finished. The list outlives the
/// Task, too.
Task<std::size_t> read_some(EventLoop& loop, Channel& channel, std::span<const iovec> into);

/// Fills all of `into`. Errc::disconnected when the peer finishes before.
Task<void> read_exactly(EventLoop& loop, Channel& channel, std::span<std::byte> into);

/// Writes and flushes all of `from`.
Task<void> write_all(EventLoop& loop, Channel& channel, std::vector<std::byte> from);

/// As read_exactly() on a channel that has the facet FdPassing, with the descriptors that came with
/// those bytes, in order. More than FdPassing::k_most of them are Errc::protocol: it is the peer
/// that says how many. Where the bytes of a message are read in several calls, its descriptors come
/// with the first.
Task<std::vector<UniqueFd>> read_exactly_with_fds(EventLoop& loop, Channel& channel,
                                                  std::span<std::byte> into);

/// As write_all() on such a channel; `fds` go with the first byte, and the peer gets duplicates.
/// `fds` are closed when the Task has ended.
Task<void> write_all_with_fds(EventLoop& loop, Channel& channel, std::vector<std::byte> from,
                              std::vector<UniqueFd> fds);

/// Channel::finish(), always on a helper thread: an encrypted channel has a goodbye to send, which
/// waits for a peer that does not read.
Task<void> finish(EventLoop& loop, Channel& channel);

/// Reads and throws away, until the peer finishes or `max_bytes` have come: so that our own last
/// words are not lost to a reset when the channel is closed.
Task<void> drain(EventLoop& loop, Channel& channel, std::size_t max_bytes);

/// Tells a peer that is turned away why, in `words` that both sides' protocol knows, and ends the
/// line so that it reads them and not a reset. Takes a second at most and 64 KiB of what the peer
/// still sends; whether it heard is of no matter any more.
Task<void> say_last_words(EventLoop& loop, Channel& channel, std::vector<std::byte> words);

}  // namespace ferry
