// What peers become channels by, beside one another.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "ferry/channel.h"
#include "ferry/event_loop.h"
#include "ferry/task.h"
#include "loop/arrivals.h"
#include "loop/task_group.h"

namespace ferry {

/// The handshakes of a listener, and the channels that they have come to, in order of completion.
/// Each is a Task with ten seconds, and there is a bound on their number: the oldest makes room. A
/// failure of Errc::auth is told to whoever asks for the next channel; any other peer that fails is
/// sent away without a word about it. On the loop's thread; destroying it drops what is under way.
class Handshakes {
 public:
  Handshakes(EventLoop& loop, std::size_t most)
      : loop_(loop), most_(most), arrivals_(loop), under_way_(loop) {}

  /// `act` begins the error of one that takes too long.
  void begin(Task<std::unique_ptr<Channel>> handshake, std::string act);
  /// Told to whoever asks, behind the channels that are there.
  void add_failure(Error error) { arrivals_.add(std::unexpected(std::move(error))); }
  Task<std::unique_ptr<Channel>> next();

 private:
  using Arrival = Result<std::unique_ptr<Channel>>;

  Task<void> shake(Task<std::unique_ptr<Channel>> handshake, std::string act);

  EventLoop& loop_;
  const std::size_t most_;
  Arrivals<Arrival> arrivals_;
  TaskGroup under_way_;  // last: they use the above
};

}  // namespace ferry
