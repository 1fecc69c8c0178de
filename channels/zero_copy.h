// What the kernel says of memory that it sends without copying.
#pragma once

#include <atomic>
#include <cstdint>

namespace ferry {

/// The account of one socket's MSG_ZEROCOPY calls (Linux, Documentation/networking/
/// msg_zerocopy.rst): each that was accepted is notified once on the socket's error queue when the
/// kernel needs the memory no more, which for TCP is when the peer has acknowledged it. Used by the
/// writing thread, but for the counters.
class ZeroCopyAccount {
 public:
  /// Borrows a socket.
  explicit ZeroCopyAccount(int fd) noexcept : fd_(fd) {}

  /// Is it worth asking for? Switches it on at the first call; false where the socket has no such
  /// thing, and once the kernel's first notification has said that it copied anyway (loopback).
  bool worthwhile() noexcept;
  void insist() noexcept { insisting_.store(true, std::memory_order_relaxed); }

  /// A call with MSG_ZEROCOPY was accepted.
  void lent() noexcept { ++lent_; }
  /// One was not, for want of memory that may be locked, and its bytes were copied.
  void copied_instead() noexcept { fallbacks_.fetch_add(1, std::memory_order_relaxed); }
  bool outstanding() const noexcept { return returned_ != lent_; }
  /// Reads the notifications that are there. Never blocks.
  void collect() noexcept;

  /// Thread-safe. Calls whose bytes were copied after all.
  std::uint64_t fallbacks() const noexcept { return fallbacks_.load(std::memory_order_relaxed); }

 private:
  enum class State { untried, on, off };
  bool take_notification() noexcept;

  const int fd_;
  State state_ = State::untried;
  std::uint64_t lent_ = 0;
  std::uint64_t returned_ = 0;
  std::atomic<bool> insisting_ = false;  // publishes nothing but itself, as does the next
  std::atomic<std::uint64_t> fallbacks_ = 0;
};

}  // namespace ferry
