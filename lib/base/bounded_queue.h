// How threads hand work to each other.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace ferry {

/// A first-in, first-out queue with a bound and an end. All of it is thread-safe. What blocks is
/// woken by its opposite, by poke(), or by close().
template <class T>
class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t capacity) : BoundedQueue(capacity, capacity - 1) {}
  /// A push that had to wait goes on when no more than `low_water` items are left, less than
  /// `capacity`: whoever fills the queue is then woken once for many items.
  BoundedQueue(std::size_t capacity, std::size_t low_water)
      : capacity_(capacity), low_water_(low_water) {}

  /// Blocks while the queue is full. False when it is closed: the item is dropped.
  bool push(T item) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return items_.size() < capacity_ || closed_; });
    if (closed_) return false;
    items_.push_back(std::move(item));
    lock.unlock();
    arrived_.notify_one();
    return true;
  }

  std::optional<T> try_pop() {
    std::unique_lock lock(mutex_);
    return take(lock);
  }

  /// Blocks while the queue is empty. Nothing when it is closed.
  std::optional<T> pop() {
    return pop_unless([] { return false; });
  }

  /// The same, but nothing also as soon as `interrupted()` holds while the queue is empty. It is
  /// evaluated under the queue's lock: whoever makes it true calls poke() afterwards.
  template <class Predicate>
  std::optional<T> pop_unless(Predicate interrupted) {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return !items_.empty() || closed_ || interrupted(); });
    return take(lock);
  }

  void poke() noexcept {
    { const std::scoped_lock lock(mutex_); }  // after this nobody is between its check and its wait
    arrived_.notify_all();
  }

  /// Blocks until every item was taken (not: dealt with). False when the queue is closed.
  bool wait_empty() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return items_.empty() || closed_; });
    return !closed_;
  }

  /// The end: nothing comes in or out any more, and what nobody took is dropped.
  void close() noexcept {
    std::deque<T> dropped;
    {
      const std::scoped_lock lock(mutex_);
      closed_ = true;
      dropped.swap(items_);
    }
    arrived_.notify_all();
    changed_.notify_all();
  }

  bool closed() const noexcept {
    const std::scoped_lock lock(mutex_);
    return closed_;
  }

 private:
  std::optional<T> take(std::unique_lock<std::mutex>& lock) {
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    const bool low = items_.size() <= low_water_;
    lock.unlock();
    if (low) changed_.notify_all();  // a pusher and a wait_empty() may both be waiting
    return item;
  }

  const std::size_t capacity_;
  const std::size_t low_water_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;  // poppers wait here
  std::condition_variable changed_;  // pushers and wait_empty() wait here
  std::deque<T> items_;
  bool closed_ = false;
};

}  // namespace ferry
