// Each second a heartbeat goes out; and whoever does not hear the peer's for too long says so.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "ferry/event_loop.h"
#include "loop/background.h"
#include "multifd/liveness.h"

namespace ferry {

/// Three heartbeats: less says nothing of a peer.
inline constexpr std::chrono::seconds k_shortest_silence{3};

/// Beats from start() to destruction. Two places, since a heartbeat may block on a peer that
/// does not read, and silence must be noticed just then: the beat has a thread of its own, the
/// watch is a Task on the loop.
class Pulse {
 public:
  /// `beat` is called each second on the pulse's thread; `silent` once, on the loop's, when nothing
  /// was heard for `timeout` (at least k_shortest_silence).
  Pulse(EventLoop& loop, const Liveness& liveness, std::chrono::milliseconds timeout,
        std::function<void()> beat, std::function<void()> silent);
  /// Waits for a beat() that is under way: whatever it blocks in is to be cancelled before.
  ~Pulse();

  /// Begins. Errc::system.
  Result<void> start();

 private:
  void beat_each_second();

  EventLoop& loop_;
  const Liveness& liveness_;
  const std::chrono::milliseconds timeout_;
  std::function<void()> beat_;
  std::function<void()> silent_;

  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::optional<Background> watch_;
  std::thread thread_;
};

}  // namespace ferry
