// The loop and the transports that migrations of one process share.
#pragma once

#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "ferry/event_loop.h"
#include "ferry/transport.h"

namespace ferry {

/// What is chosen for all migrations of one Runtime.
struct RuntimeOptions {
  /// MPTCP for `tcp`: a line may use all paths between two hosts at once. Where this host or the
  /// peer has none the line is plain TCP, and the migration warns.
  bool mptcp = false;
};

/// Owns the event loop's thread and the transports. Any number of migrations may use one Runtime at
/// the same time; it must outlive them. make_runtime() (ferry/ferry.h) gives one that knows every
/// transport of this build.
class Runtime {
 public:
  static Result<std::unique_ptr<Runtime>> create();
  ~Runtime();

  /// Adds a transport, or replaces the one with its scheme. Before the first migration.
  void add(std::unique_ptr<Transport> transport);

  /// Errc::usage, naming the schemes that there are, where nothing speaks `scheme`.
  Result<Transport*> transport(std::string_view scheme) const;

  EventLoop& loop() noexcept { return *loop_; }

 private:
  explicit Runtime(std::unique_ptr<EventLoop> loop);
  std::vector<std::unique_ptr<Transport>> transports_;
  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
};

}  // namespace ferry
