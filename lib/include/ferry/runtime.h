// The loop and the transports that migrations of one process share.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "ferry/event_loop.h"
#include "ferry/io_thread.h"
#include "ferry/transport.h"

namespace [[gnu::visibility("default")]] ferry {

/// What is chosen for all migrations of one Runtime.
struct RuntimeOptions {
  PollerKind poller = PollerKind::automatic;  ///< what its loop waits with
  /// The program's own, which it drives itself, in the place of a loop in a thread of ours. It
  /// outlives the Runtime, and is driven as long as a migration goes on (so not from the thread
  /// that is in send() or receive()). `poller` is then of no interest.
  EventLoop* loop = nullptr;
  /// MPTCP for `tcp`: a line may use all paths between two hosts at once. Where this host or the
  /// peer has none the line is plain TCP, and the migration warns.
  bool mptcp = false;
};

/// Has the event loop and owns the transports. Any number of migrations may use one Runtime at
/// the same time; it must outlive them. make_runtime() (ferry/ferry.h) gives one that knows every
/// transport of this build.
class Runtime {
 public:
  /// Errc::unsupported, naming why, where there is no such poller on this machine.
  static Result<std::unique_ptr<Runtime>> create(const RuntimeOptions& options = {});
  ~Runtime();

  /// Adds a transport, or replaces the one with its scheme. Before the first migration.
  void add(std::unique_ptr<Transport> transport);

  /// Errc::usage, naming the schemes that there are, where nothing speaks `scheme`.
  Result<Transport*> transport(std::string_view scheme) const;

  EventLoop& loop() noexcept { return loop_; }

 private:
  Runtime(std::unique_ptr<IoThread> thread, EventLoop& loop);
  std::vector<std::unique_ptr<Transport>> transports_;
  std::unique_ptr<IoThread> thread_;  // goes first: its Tasks use the transports; may be null
  EventLoop& loop_;                   // the thread's, or the program's
};

}  // namespace ferry
