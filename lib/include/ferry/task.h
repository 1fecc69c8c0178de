// Coroutines that wait on the event loop.
//
// A Task<T> is lazy: it runs when it is awaited, spawned or blocked on. It ends with a Result<T>.
//
//   Task<std::unique_ptr<Channel>> connect(EventLoop& loop, Uri to) {
//     Address address = co_await resolve(loop, to);      // a failed Task ends this one, too
//     UniqueFd fd = co_await open_socket(address);       // so does a failed Result
//     if (!fits(address)) co_await fail(Errc::usage, "connect: no such family");
//     Result<void> done = co_await finish(loop, fd).caught();   // unless one wants to look at it
//     co_return std::make_unique<SocketChannel>(std::move(fd));
//   }
//
// A failure short-circuits: the awaiting coroutine is not resumed, its own Task fails with the same
// Error, and its locals are destroyed with its frame. Dropping a Task cancels it: the frame is
// destroyed where it waits, and every awaiter deregisters in its destructor. All of it happens on
// the loop's thread; nothing here is thread-safe.
//
// An awaiter of one's own is a local variable of the coroutine that awaits it. It resumes the
// coroutine from a callback of the loop (watch, call_at, post) and not from inside another
// coroutine: the one that runs could then be dropped while it runs.
//
// Coroutine parameters are taken by value, or outlive the Task. A lambda that captures, and a
// struct written with braces (`Uri{...}`), get a name before a co_await expression uses them: as
// temporaries of such an expression GCC 12 destroys them twice.
#pragma once

#include <cassert>
#include <concepts>
#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "ferry/result.h"

namespace [[gnu::visibility("default")]] ferry {

template <class T>
class Task;

namespace detail {

/// Whoever waits for a Task's end. completed() is called once, when the Task's result stands, and
/// says which coroutine runs next. It may destroy the Task.
class Completion {
 public:
  virtual std::coroutine_handle<> completed() noexcept = 0;

 protected:
  ~Completion() = default;
};

/// What all promises share: who is waiting, and the way out.
class PromiseBase {
 public:
  std::suspend_always initial_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept { std::terminate(); }

  std::coroutine_handle<> finish() noexcept {
    return completion ? completion->completed() : std::noop_coroutine();
  }

  struct FinalAwaiter {
    bool await_ready() noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> self) noexcept {
      return self.promise().finish();
    }
    void await_resume() noexcept {}
  };
  FinalAwaiter final_suspend() noexcept { return {}; }

  Completion* completion = nullptr;
};

template <class P>
concept FailsWithError = requires(P& promise, Error error) {
  promise.fail(std::move(error));
  { promise.finish() } -> std::convertible_to<std::coroutine_handle<>>;
};

/// Runs a child Task for a coroutine that waits for it.
///
/// A child that ends before it has waited for anything does not resume its parent; the parent never
/// suspends. Resuming it would nest one call in another, and where the compiler makes no tail calls
/// (-O0, sanitizers) a loop over such children would use up the stack.
template <class T>
class ChildAwaiter : public Completion {
 public:
  explicit ChildAwaiter(Task<T> child) noexcept : child_(std::move(child)) {}
  bool await_ready() const noexcept { return false; }

  std::coroutine_handle<> completed() noexcept final {
    ended_ = true;
    return waiting_ ? resume_parent() : std::noop_coroutine();
  }

 protected:
  ~ChildAwaiter() = default;

  /// Starts the child. False when it has ended already: then resume_parent() is not called.
  bool must_wait(std::coroutine_handle<> parent) noexcept {
    parent_ = parent;
    child_.start(*this).resume();
    waiting_ = !ended_;
    return waiting_;
  }
  /// The child has ended while the parent waits: which coroutine runs next?
  virtual std::coroutine_handle<> resume_parent() noexcept { return parent_; }

  Task<T> child_;
  std::coroutine_handle<> parent_;

 private:
  bool ended_ = false;
  bool waiting_ = false;
};

/// co_await of a Task from a Task; short-circuits.
template <class T>
class TaskAwaiter final : public ChildAwaiter<T> {
 public:
  using ChildAwaiter<T>::ChildAwaiter;

  template <FailsWithError P>
  bool await_suspend(std::coroutine_handle<P> parent) noexcept {
    fail_parent_ = [](std::coroutine_handle<> handle, Error error) noexcept {
      auto& promise = std::coroutine_handle<P>::from_address(handle.address()).promise();
      promise.fail(std::move(error));
      return promise.finish();
    };
    if (this->must_wait(parent)) return true;
    if (this->child_.result()) return false;
    resume_parent().resume();  // the parent's own end, which may destroy this awaiter
    return true;
  }
  T await_resume() {
    if constexpr (!std::is_void_v<T>) return *std::move(this->child_.result());
  }

 private:
  std::coroutine_handle<> resume_parent() noexcept override {
    if (this->child_.result()) return this->parent_;
    return fail_parent_(this->parent_, std::move(this->child_.result()).error());
  }

  std::coroutine_handle<> (*fail_parent_)(std::coroutine_handle<>, Error) noexcept = nullptr;
};

/// What task.caught() gives.
template <class T>
struct [[nodiscard]] Caught {
  Task<T> task;
};

/// co_await task.caught(): the Result, whatever it is.
template <class T>
class CaughtAwaiter final : public ChildAwaiter<T> {
 public:
  using ChildAwaiter<T>::ChildAwaiter;
  bool await_suspend(std::coroutine_handle<> parent) noexcept { return this->must_wait(parent); }
  Result<T> await_resume() { return std::move(this->child_.result()); }
};

/// co_await of a Result from a Task; short-circuits.
template <class T>
class ResultAwaiter {
 public:
  explicit ResultAwaiter(Result<T> result) noexcept : result_(std::move(result)) {}
  bool await_ready() const noexcept { return result_.has_value(); }
  template <FailsWithError P>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<P> self) noexcept {
    self.promise().fail(std::move(result_).error());
    return self.promise().finish();
  }
  T await_resume() {
    if constexpr (!std::is_void_v<T>) return *std::move(result_);
  }

 private:
  Result<T> result_;
};

/// co_await of an awaiter of one's own, by reference: GCC 12 would copy it into the frame, and the
/// copy would be another one than the one that registered itself.
template <class Awaiter>
class AwaiterRef {
 public:
  explicit AwaiterRef(Awaiter& awaiter) noexcept : awaiter_(awaiter) {}
  bool await_ready() { return awaiter_.await_ready(); }
  auto await_suspend(std::coroutine_handle<> waiter) { return awaiter_.await_suspend(waiter); }
  decltype(auto) await_resume() { return awaiter_.await_resume(); }

 private:
  Awaiter& awaiter_;
};

template <class T>
class PromiseOf : public PromiseBase {
 public:
  Task<T> get_return_object() noexcept;
  void fail(Error error) noexcept { result.emplace(std::unexpect, std::move(error)); }

  template <class U>
  TaskAwaiter<U> await_transform(Task<U> task) noexcept {
    return TaskAwaiter<U>(std::move(task));
  }
  template <class U>
  CaughtAwaiter<U> await_transform(Caught<U> caught) noexcept {
    return CaughtAwaiter<U>(std::move(caught.task));
  }
  template <class U>
  ResultAwaiter<U> await_transform(Result<U> r) noexcept {
    return ResultAwaiter<U>(std::move(r));
  }
  ResultAwaiter<void> await_transform(std::unexpected<Error> error) noexcept {
    return ResultAwaiter<void>(Result<void>(std::move(error)));
  }
  template <class Awaiter>
  AwaiterRef<Awaiter> await_transform(Awaiter& awaiter) noexcept {
    return AwaiterRef<Awaiter>(awaiter);
  }

  std::optional<Result<T>> result;
};

template <class T>
class Promise final : public PromiseOf<T> {
 public:
  template <class U = T>
  requires std::constructible_from<Result<T>, U &&> void return_value(U&& value) {
    this->result.emplace(std::forward<U>(value));
  }
};

template <>
class Promise<void> final : public PromiseOf<void> {
 public:
  void return_void() noexcept { result.emplace(); }
};

}  // namespace detail

/// A piece of asynchronous work that ends with a Result<T>. Move-only; dropping it cancels it.
template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;

  Task() noexcept = default;
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      drop();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  ~Task() { drop(); }

  /// Is there anything to await?
  explicit operator bool() const noexcept { return static_cast<bool>(handle_); }

  /// Awaited, gives the Result instead of short-circuiting on a failure.
  detail::Caught<T> caught() && noexcept { return {std::move(*this)}; }

  /// For awaiters: the coroutine to resume in order to begin; `completion` hears of the end.
  std::coroutine_handle<> start(detail::Completion& completion) noexcept {
    assert(handle_ && !handle_.promise().completion);
    handle_.promise().completion = &completion;
    return handle_;
  }
  /// For awaiters: how it ended. Only after completed().
  Result<T>& result() noexcept {
    assert(handle_ && handle_.promise().result);
    return *handle_.promise().result;
  }

 private:
  friend class detail::PromiseOf<T>;
  explicit Task(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
  void drop() noexcept {
    if (handle_) std::exchange(handle_, {}).destroy();
  }

  std::coroutine_handle<promise_type> handle_;
};

template <class T>
Task<T> detail::PromiseOf<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(static_cast<Promise<T>&>(*this)));
}

}  // namespace gnu::visibility("default")]]ferry
