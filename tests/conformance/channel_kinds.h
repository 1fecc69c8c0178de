// Every kind of channel that the conformance suite runs over.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "ferry/channel.h"
#include "ferry/event_loop.h"
#include "ferry/result.h"
#include "tests/channels/loop_thread.h"

namespace ferry::test {

/// A line, connected.
struct Ends {
  std::unique_ptr<Channel> ours;
  std::unique_ptr<Channel> theirs;
};

/// Does a peer that was destroyed without a finish, and had left no byte unread, show as a cut?
enum class QuietDestruction { is_a_cut, reads_as_a_finish };

/// And does one that had left bytes unread?
enum class LoudDestruction { is_a_cut, reads_as_a_finish };

/// Has it the facet Pollable?
enum class Polls { no, yes };

/// Has it the facet FdPassing?
enum class PassesFds { no, yes };

/// When does a peer that is blocked hear of a cancel()?
enum class CancelReachesPeer { at_once, when_destroyed };

/// Has it the facet BulkRead?
enum class ReadsBulk { no, yes };

struct ChannelKind {
  std::string name;
  Polls polls;
  PassesFds passes_fds;
  QuietDestruction quiet_destruction;
  /// How many bytes are more than it holds, and still pass quickly.
  std::size_t a_lot;
  /// Connects two ends. The loop runs in its thread.
  std::function<Result<Ends>(LoopThread&)> connect;
  CancelReachesPeer cancel_reaches_peer = CancelReachesPeer::at_once;
  ReadsBulk reads_bulk = ReadsBulk::no;
  LoudDestruction loud_destruction = LoudDestruction::is_a_cut;

  friend void PrintTo(const ChannelKind& kind, std::ostream* out) { *out << kind.name; }
};

/// A new kind of channel is one line in here.
std::vector<ChannelKind> every_channel();
std::vector<ChannelKind> every_pollable_channel();
std::vector<ChannelKind> every_channel_that_passes_fds();
std::vector<ChannelKind> every_channel_of_bulk();

/// The same kinds with TLS over them; none where this build has no TLS.
std::vector<ChannelKind> encrypted(std::vector<ChannelKind> kinds);
/// The same kinds with kernel TLS over them, both ways; skipped where the kernel has none.
std::vector<ChannelKind> encrypted_by_the_kernel(std::vector<ChannelKind> kinds);
/// The same kinds with WebSocket over them; none where this build has none.
std::vector<ChannelKind> over_websocket(std::vector<ChannelKind> kinds);

}  // namespace ferry::test
