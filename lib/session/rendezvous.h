// The receiver's door: greets whoever comes, and lets in who belongs to the session.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "ferry/event_loop.h"
#include "ferry/transport.h"
#include "loop/background.h"
#include "loop/task_group.h"
#include "session/admission.h"
#include "wire/hello.h"

namespace ferry {

/// Accepts and greets on the loop from construction to destruction. Each peer has a Task and a
/// deadline of its own, so that a silent one delays nobody; where there are more than the channels
/// that are awaited and 64, those that have been longest make room. A peer that is refused gets to
/// read why. One that could not prove to its transport who it is ends the waiting, with Errc::auth,
/// unless a session has begun.
class Rendezvous {
 public:
  /// `arrived` hears of each admitted channel, on the loop's thread; it must not block.
  /// Made and destroyed on any thread but the loop's.
  Rendezvous(EventLoop& loop, std::unique_ptr<Listener> listener,
             std::function<void(wire::Hello, std::unique_ptr<Channel>)> arrived,
             std::function<void(Error)> on_failure);

  Admission& admission() noexcept { return admission_; }
  Uri local() const { return local_; }
  Reach reach() const noexcept { return reach_; }
  /// Peers that were sent away. Thread-safe.
  std::uint64_t refused() const noexcept { return refused_.load(std::memory_order_relaxed); }

 private:
  Task<void> serve(std::unique_ptr<Listener> listener);
  Task<void> greet(std::unique_ptr<Channel> channel);
  Task<void> refuse(Channel& channel, wire::HelloAck ack);

  EventLoop& loop_;
  const Uri local_;
  const Reach reach_;
  std::function<void(wire::Hello, std::unique_ptr<Channel>)> arrived_;
  std::function<void(Error)> on_failure_;
  Admission admission_;
  std::atomic<std::uint64_t> refused_ = 0;
  Background door_;  // last: it uses all of the above
};

}  // namespace ferry
