// One loop for everything that waits for many things at once: listen, accept, resolve, connect,
// handshakes, timers, signals.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "ferry/channel.h"
#include "ferry/result.h"
#include "ferry/task.h"

namespace [[gnu::visibility("default")]] ferry {

using Clock = std::chrono::steady_clock;

/// What of the kernel a loop waits with.
enum class PollerKind {
  automatic,  ///< io_uring where the kernel allows it, else epoll, else poll
  io_uring,
  epoll,
  poll,  ///< works everywhere; a loop of it cannot be embedded
};

/// As --poller has it: "auto", "io_uring", "epoll", "poll".
std::string_view to_string(PollerKind kind) noexcept;
/// The kind of that name. Errc::usage.
Result<PollerKind> parse_poller(std::string_view name);

class Poller;

/// Runs Tasks and timers on the thread that calls run() or run_once(). Everything but what says
/// "Thread-safe" is for that thread only (or for before it starts). What happens inside never
/// blocks; blocking calls go to on_helper_thread().
class EventLoop {
 public:
  /// Errc::unsupported, naming why, where there is no such poller on this machine.
  static Result<std::unique_ptr<EventLoop>> create(PollerKind poller = PollerKind::automatic);
  /// Drops every spawned Task. Helper threads that are still in their blocking call (a resolver
  /// that hangs) are left to end by themselves, touching nothing of the loop.
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// Waits until `fd` is ready for any of `want`; returns what it is ready for. An error or a
  /// hang-up counts as ready: the next call on the descriptor says what it is. Two Tasks may wait
  /// on one fd.
  Task<Interest> ready(int fd, Interest want);
  Task<void> sleep_until(Clock::time_point when);
  /// Runs `blocking` in a thread of its own and waits until that has ended; `blocking` itself is
  /// destroyed by then. If the Task is dropped the thread goes on to its end: `blocking` must own
  /// what it touches. Errc::system when there is no thread to be had.
  Task<void> on_helper_thread(std::function<void()> blocking);
  /// Waits for one of the signals, which every thread of the process must have blocked before, and
  /// returns its number.
  Task<int> signal(std::initializer_list<int> signals);

  /// `task`, or Errc::timed_out when `deadline` comes first; the task is then dropped. `act` names
  /// what took too long: "connect tcp://node7:4446" becomes "connect tcp://node7:4446: timed out".
  template <class T>
  Task<T> within(Clock::time_point deadline, Task<T> task, std::string act);

  /// All of them at once, results in order. The first failure drops the others and is returned.
  template <class T>
  Task<std::vector<T>> all(std::vector<Task<T>> tasks);

  /// Runs the task to its end on its own, from the loop's next turn on. The loop owns it; `done`
  /// hears its Result when the task is gone, and is not called when the loop is destroyed first.
  void spawn(Task<void> task, std::move_only_function<void(Result<void>)> done = {});

  /// Thread-safe. Runs `work` on the loop's thread, in order. Work that is still waiting when the
  /// loop is destroyed is destroyed with it.
  void post(std::move_only_function<void()> work);

  /// Runs until stop(). A stop() that came before counts.
  void run();
  /// Thread-safe.
  void stop() noexcept;

  /// For a program that has a loop already and drives this one from it, in place of run(): watches
  /// fd() and, whenever that is readable, calls run_once() with a deadline that has passed. Timers
  /// and posted work make it readable too.
  ///
  /// fd() stays the loop's: nobody reads or closes it, and it is watched level-triggered (readable,
  /// as long as there is something to do). Errc::unsupported with PollerKind::poll, which has none.
  /// With io_uring the program's own wait may end with EINTR now and then, as after a signal.
  Result<int> fd();
  /// One turn: waits until there is something to do, but not beyond `deadline`, and does what is
  /// ready, posted and due at that moment; what comes of it waits for the next turn. May return
  /// without having done anything. stop() ends the wait, and is otherwise for run().
  void run_once(Clock::time_point deadline);

  /// What it waits with; never automatic.
  PollerKind poller_kind() const noexcept;

  /// Callbacks beneath the Tasks, one-shot. Ids are never reused; 0 is none. What was unwatched or
  /// cancelled is never called, even when it was due already. unwatch() comes before close().
  using WatchId = std::uint64_t;
  using TimerId = std::uint64_t;
  Result<WatchId> watch(int fd, Interest want, std::move_only_function<void(Interest)> ready);
  void unwatch(WatchId id) noexcept;
  TimerId call_at(Clock::time_point when, std::move_only_function<void()> call);
  void cancel_call(TimerId id) noexcept;

 private:
  struct State;
  explicit EventLoop(std::unique_ptr<Poller> poller);
  std::unique_ptr<State> state_;
};

/// Runs `task` on the loop from another thread, and blocks for its Result. A stop request drops the
/// task and gives Errc::cancelled, unless the task ends first. When this returns the task is gone:
/// it may use what the caller's stack holds. The loop must be running, and go on until this
/// returns.
template <class T>
Result<T> block_on(EventLoop& loop, Task<T> task, std::stop_token stop = {});

}  // namespace ferry

#include "ferry/event_loop_inl.h"  // IWYU pragma: keep
