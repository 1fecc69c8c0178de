#include "ferry/event_loop.h"

#include <sys/signalfd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "ferry/unique_fd.h"
#include "loop/alarm.h"
#include "loop/poller.h"
#include "loop/thread.h"

namespace ferry {
namespace {

constexpr std::uint64_t k_alarm = 0;  // its cookie; a watch has never this one

/// The way from a helper thread to the loop, if there still is one.
class Lifeline {
 public:
  explicit Lifeline(EventLoop& loop) noexcept : loop_(&loop) {}
  void cut() noexcept {
    std::lock_guard lock(mutex_);
    loop_ = nullptr;
  }
  /// Thread-safe. Once the loop is gone `work` is only destroyed.
  void post(std::move_only_function<void()> work) {
    std::lock_guard lock(mutex_);
    if (loop_) loop_->post(std::move(work));
  }

 private:
  std::mutex mutex_;
  EventLoop* loop_;  // guarded by mutex_, which keeps the loop alive while it is posted to
};

/// A Task that nobody awaits. It only reports its end: it is destroyed when nothing of it is on the
/// stack any more.
class Spawned final : public detail::Completion {
 public:
  /// `report`, which calls report(), is posted at the end of the task.
  Spawned(EventLoop& loop, Task<void> task, std::move_only_function<void(Result<void>)> done,
          std::move_only_function<void()> report)
      : loop_(loop), task_(std::move(task)), done_(std::move(done)), report_(std::move(report)) {}

  void start() { task_.start(*this).resume(); }
  std::coroutine_handle<> completed() noexcept override {
    loop_.post(std::move(report_));
    return std::noop_coroutine();
  }
  void report() {
    Result<void> result = std::move(task_.result());
    task_ = {};
    if (done_) done_(std::move(result));
  }

 private:
  EventLoop& loop_;
  Task<void> task_;
  std::move_only_function<void(Result<void>)> done_;
  std::move_only_function<void()> report_;
};

/// Destroys what is in a container, while its user sees an empty one. Was there anything?
template <class Container>
bool drop(Container& container) {
  const Container dropped = std::exchange(container, {});
  return !dropped.empty();
}

/// A loop that cannot wait can keep no promise of its own; this is a bug of ours, or of the kernel.
[[noreturn]] void die(const Error& error) {
  std::fprintf(stderr, "ferry: the event loop cannot go on: %s\n", error.text().c_str());
  std::abort();
}

}  // namespace

struct EventLoop::State {
  State(EventLoop& loop, std::unique_ptr<Poller> with_poller)
      : poller(std::move(with_poller)), lifeline(std::make_shared<Lifeline>(loop)) {}

  void run_posted();
  void run_due_timers();
  void report_end(std::uint64_t id);
  void wait_and_dispatch(Clock::time_point deadline);
  void turn(Clock::time_point deadline);
  Clock::time_point first_timer() const;
  bool take_stop();
  bool drop_all();

  std::unique_ptr<Poller> poller;
  std::optional<Alarm> alarm;          // once the loop is embedded
  std::shared_ptr<Lifeline> lifeline;  // shared with the helper threads, which may outlive the loop

  std::uint64_t last_id = 0;  // of watches, timers and spawned tasks alike
  std::unordered_map<WatchId, std::move_only_function<void(Interest)>> watches;
  std::map<std::pair<Clock::time_point, TimerId>, std::move_only_function<void()>> timers;
  std::unordered_map<TimerId, Clock::time_point> timer_times;
  std::unordered_map<std::uint64_t, std::unique_ptr<Spawned>> spawned;

  std::mutex mutex;  // guards what follows
  std::vector<std::move_only_function<void()>> posted;
  bool stopping = false;
};

Result<std::unique_ptr<EventLoop>> EventLoop::create(PollerKind poller) {
  auto made = FERRY_TRY(make_poller(poller));
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(made)));
}

EventLoop::EventLoop(std::unique_ptr<Poller> poller)
    : state_(std::make_unique<State>(*this, std::move(poller))) {}

// Tasks go first, while timers and watches are there for their awaiters to deregister from. What is
// destroyed may spawn or post once more, from a destructor: hence the loop.
EventLoop::~EventLoop() {
  state_->lifeline->cut();
  while (state_->drop_all()) {
  }
}

/// Was there anything to drop?
bool EventLoop::State::drop_all() {
  bool any = drop(spawned);
  std::vector<std::move_only_function<void()>> work;
  {
    std::lock_guard lock(mutex);
    work.swap(posted);
  }
  any |= drop(work);
  any |= drop(timers);
  any |= drop(watches);
  return any;
}

void EventLoop::run() {
  while (!state_->take_stop()) state_->turn(Clock::time_point::max());
}

void EventLoop::run_once(Clock::time_point deadline) { state_->turn(deadline); }

Result<int> EventLoop::fd() {
  const int fd = FERRY_TRY(state_->poller->fd());
  if (!state_->alarm) {
    state_->alarm = FERRY_TRY(Alarm::create(*state_->poller, k_alarm));
    state_->alarm->set(state_->first_timer());
  }
  return fd;
}

PollerKind EventLoop::poller_kind() const noexcept { return state_->poller->kind(); }

void EventLoop::stop() noexcept {
  std::lock_guard lock(state_->mutex);
  state_->stopping = true;
  state_->poller->wake();
}

bool EventLoop::State::take_stop() {
  std::lock_guard lock(mutex);
  return std::exchange(stopping, false);
}

// Woken under the lock: whoever posts its last word to a loop that it wants to see stopped may
// otherwise find the poller destroyed.
void EventLoop::post(std::move_only_function<void()> work) {
  std::lock_guard lock(state_->mutex);
  state_->posted.push_back(std::move(work));
  if (state_->posted.size() == 1) state_->poller->wake();
}

/// What is posted meanwhile waits for the next turn, so that events get theirs.
void EventLoop::State::run_posted() {
  std::vector<std::move_only_function<void()>> batch;
  {
    std::lock_guard lock(mutex);
    batch.swap(posted);
  }
  for (auto& work : batch) std::exchange(work, {})();
}

/// Calls what is due now, but nothing that is added meanwhile: a timer that renews itself for a
/// time that has passed must not keep the loop.
void EventLoop::State::run_due_timers() {
  std::vector<std::pair<Clock::time_point, TimerId>> due;
  const Clock::time_point now = Clock::now();
  for (const auto& [key, call] : timers) {
    if (key.first > now) break;
    due.push_back(key);
  }
  for (const auto& key : due) {
    auto timer = timers.extract(key);
    if (timer.empty()) continue;  // cancelled by one of those before it
    timer_times.erase(key.second);
    timer.mapped()();
  }
}

void EventLoop::State::report_end(std::uint64_t id) {
  const auto task = spawned.extract(id);
  task.mapped()->report();
}

Clock::time_point EventLoop::State::first_timer() const {
  return timers.empty() ? Clock::time_point::max() : timers.begin()->first.first;
}

/// The wait comes first: what was posted or has become due ends it at once.
void EventLoop::State::turn(Clock::time_point deadline) {
  wait_and_dispatch(std::min(deadline, first_timer()));
  run_posted();
  run_due_timers();
  if (alarm) alarm->set(first_timer());
}

void EventLoop::State::wait_and_dispatch(Clock::time_point deadline) {
  const auto events = poller->wait(deadline);
  if (!events) die(events.error());
  for (const Poller::Event& event : *events) {
    if (event.cookie == k_alarm) {
      if (const auto renewed = alarm->renew(); !renewed) die(renewed.error());
      continue;
    }
    auto watch = watches.extract(event.cookie);
    if (!watch.empty()) watch.mapped()(event.ready);  // else unwatched by one of those before it
  }
}

Result<EventLoop::WatchId> EventLoop::watch(int fd, Interest want,
                                            std::move_only_function<void(Interest)> ready) {
  const WatchId id = ++state_->last_id;
  FERRY_TRY(state_->poller->arm(fd, want, id));
  state_->watches.emplace(id, std::move(ready));
  return id;
}

void EventLoop::unwatch(WatchId id) noexcept {
  if (state_->watches.erase(id) > 0) state_->poller->disarm(id);
}

EventLoop::TimerId EventLoop::call_at(Clock::time_point when,
                                      std::move_only_function<void()> call) {
  const TimerId id = ++state_->last_id;
  state_->timers.emplace(std::pair(when, id), std::move(call));
  state_->timer_times.emplace(id, when);
  if (state_->alarm) state_->alarm->set(state_->first_timer());
  return id;
}

void EventLoop::cancel_call(TimerId id) noexcept {
  const auto found = state_->timer_times.find(id);
  if (found == state_->timer_times.end()) return;
  state_->timers.erase({found->second, id});
  state_->timer_times.erase(found);
}

void EventLoop::spawn(Task<void> task, std::move_only_function<void(Result<void>)> done) {
  const std::uint64_t id = ++state_->last_id;
  auto report = [state = state_.get(), id] { state->report_end(id); };
  state_->spawned.emplace(
      id, std::make_unique<Spawned>(*this, std::move(task), std::move(done), std::move(report)));
  post([state = state_.get(), id] { state->spawned.at(id)->start(); });
}

namespace {

class ReadyAwaiter {
 public:
  ReadyAwaiter(EventLoop& loop, int fd, Interest want) noexcept
      : loop_(loop), fd_(fd), want_(want) {}
  ReadyAwaiter(const ReadyAwaiter&) = delete;
  ReadyAwaiter& operator=(const ReadyAwaiter&) = delete;
  ~ReadyAwaiter() { loop_.unwatch(watch_); }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> waiter) {
    Result<EventLoop::WatchId> watch = loop_.watch(fd_, want_, [this, waiter](Interest ready) {
      result_ = ready;
      waiter.resume();
    });
    if (watch) {
      watch_ = *watch;
    } else {
      result_ = std::unexpected(std::move(watch).error());
    }
    return watch_ != 0;
  }
  Result<Interest> await_resume() { return std::move(result_); }

 private:
  EventLoop& loop_;
  int fd_;
  Interest want_;
  EventLoop::WatchId watch_ = 0;
  Result<Interest> result_;
};

class TimerAwaiter {
 public:
  TimerAwaiter(EventLoop& loop, Clock::time_point when) noexcept : loop_(loop), when_(when) {}
  TimerAwaiter(const TimerAwaiter&) = delete;
  TimerAwaiter& operator=(const TimerAwaiter&) = delete;
  ~TimerAwaiter() { loop_.cancel_call(timer_); }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) { timer_ = loop_.call_at(when_, waiter); }
  void await_resume() const noexcept {}

 private:
  EventLoop& loop_;
  Clock::time_point when_;
  EventLoop::TimerId timer_ = 0;
};

/// A helper thread and who waits for it. The loop's thread and this one share it; the last act of
/// this one is to hand its share on.
struct Helper {
  Helper() = default;
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;
  ~Helper() {
    if (!thread.joinable()) return;
    if (thread.get_id() == std::this_thread::get_id()) {
      thread.detach();  // it has outlived the loop
    } else {
      thread.join();
    }
  }

  std::thread thread;
  std::coroutine_handle<> waiter;  // null when the Task was dropped
};

class HelperAwaiter {
 public:
  HelperAwaiter(std::shared_ptr<Lifeline> lifeline, std::function<void()> blocking)
      : lifeline_(std::move(lifeline)), blocking_(std::move(blocking)) {}
  HelperAwaiter(const HelperAwaiter&) = delete;
  HelperAwaiter& operator=(const HelperAwaiter&) = delete;
  ~HelperAwaiter() { helper_->waiter = nullptr; }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> waiter) {
    helper_->waiter = waiter;
    auto body = [lifeline = lifeline_, helper = helper_,
                 blocking = std::move(blocking_)]() mutable {
      blocking();
      blocking = {};
      lifeline->post([helper = std::move(helper)] {
        // It is at its end. What libraries keep for a thread is given back before its waiter goes
        // on, maybe to the end of the process.
        helper->thread.join();
        if (helper->waiter) helper->waiter.resume();
      });
    };
    Result<std::thread> thread = start_thread("ferry-helper", std::move(body));
    if (thread) {
      helper_->thread = *std::move(thread);
    } else {
      result_ = std::unexpected(std::move(thread).error());
    }
    return result_.has_value();
  }
  Result<void> await_resume() { return std::move(result_); }

 private:
  std::shared_ptr<Lifeline> lifeline_;
  std::function<void()> blocking_;
  std::shared_ptr<Helper> helper_ = std::make_shared<Helper>();
  Result<void> result_;
};

Task<int> next_signal(EventLoop& loop, sigset_t signals) {
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) co_await fail_sys(Errc::system, errno, "create a signalfd");
  for (;;) {
    co_await loop.ready(fd.get(), Interest::read);
    signalfd_siginfo info;
    if (::read(fd.get(), &info, sizeof info) == sizeof info) {
      co_return static_cast<int>(info.ssi_signo);
    }
    // Another reader was quicker: the set is shared by all signalfds of the process.
    if (errno != EAGAIN && errno != EINTR) co_await fail_sys(Errc::system, errno, "read a signal");
  }
}

}  // namespace

Task<Interest> EventLoop::ready(int fd, Interest want) {
  ReadyAwaiter awaiter(*this, fd, want);
  Result<Interest> result = co_await awaiter;
  co_return std::move(result);
}

Task<void> EventLoop::sleep_until(Clock::time_point when) {
  TimerAwaiter awaiter(*this, when);
  co_await awaiter;
}

Task<void> EventLoop::on_helper_thread(std::function<void()> blocking) {
  HelperAwaiter awaiter(state_->lifeline, std::move(blocking));
  Result<void> result = co_await awaiter;
  co_await std::move(result);
}

// No coroutine itself: the list does not live as long as the Task.
Task<int> EventLoop::signal(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int number : signals) sigaddset(&set, number);
  return next_signal(*this, set);
}

}  // namespace ferry
