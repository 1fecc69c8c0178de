// A loop with a thread of its own.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "ferry/event_loop.h"
#include "ferry/result.h"
#include "ferry/task.h"

namespace ferry {

/// An event loop that runs in its own thread: for a monitor or a device that is not to wait for
/// anybody else's work. Objects are handed to it whole, as parameters of a Task: from then on that
/// thread alone uses them, and it destroys them too.
///
///     thread->spawn(serve(thread->loop(), std::move(channel)));
class IoThread {
 public:
  /// `name`, at most 15 characters, is for ps and debuggers. All signals are blocked in the thread.
  /// Errc::unsupported, naming why, where there is no such poller on this machine.
  static Result<std::unique_ptr<IoThread>> create(const std::string& name,
                                                  PollerKind poller = PollerKind::automatic);
  /// Stops the loop and waits for its thread, which drops the Tasks that are left. On any thread
  /// but that one; nobody else may use the loop any more.
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  /// Thread-safe. Runs the task to its end on the thread, or until the IoThread is destroyed.
  /// `done` hears its Result there, when the task is gone, and only if it came to its end.
  void spawn(Task<void> task, std::move_only_function<void(Result<void>)> done = {});

  /// For what runs in the thread; from elsewhere its Thread-safe functions, and block_on(). A
  /// stop() only wakes it: the loop ends with the IoThread.
  EventLoop& loop() noexcept { return *loop_; }

 private:
  explicit IoThread(std::unique_ptr<EventLoop> loop) noexcept;
  bool is_closing();
  std::unique_ptr<EventLoop> loop_;  // destroyed by the thread
  std::mutex closing_;          // held while the loop is told: the thread destroys it no earlier
  bool told_to_close_ = false;  // guarded by closing_
  std::thread thread_;
};

}  // namespace ferry
