// The page channels of a source: dialled, replaced, and ended together.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

#include "ferry/transport.h"
#include "multifd/link.h"
#include "session/conversation.h"
#include "session/greeting.h"
#include "wire/hello.h"

namespace ferry {

/// One channel for each lane, and another in its place when it is worn. The lane stays: its packets
/// go on with their numbers, so that nothing else is told of it, and nothing is kept of a channel
/// that is gone. Opened by the conducting thread; replaced by the lane's own.
class PageLines {
 public:
  /// How a page channel comes about.
  struct Way {
    Transport& transport;
    Uri to;
    wire::SessionId session{};
    std::optional<wire::Secret> secret{};  ///< of an encrypted session
    std::uint32_t features = 0;            ///< optional ones, that both sides know
    std::chrono::milliseconds timeout{};   ///< for each of the waits for one
  };

  /// `conversation` outlives this.
  PageLines(EventLoop& loop, Conversation& conversation, Way way);

  /// Blocks until as many are there as were announced. Once.
  Result<void> open(std::uint16_t count);
  unsigned count() const noexcept { return static_cast<unsigned>(lanes_.size()); }
  Link& of(std::uint16_t lane) { return *lanes_[lane].now; }

  /// On the lane's thread. Finishes its link, and gives the one that it is to go on with; the old
  /// one stays until the next time. Null: the receiver is of a version that takes no other. Blocks
  /// until the receiver has read to its end the one before the old one, until it expects another,
  /// and until that is there; a time-out each but for the first, during which the watch for pages
  /// that stand still is on.
  Result<Link*> replace(std::uint16_t lane);

  /// Thread-safe. The receiver says that channels may come. False: nobody here has asked.
  bool answered(const wire::ChannelsAck& ack);

  /// Thread-safe, never blocks. The session is over: wakes whoever is in any call of these.
  void cut(Errc why) noexcept;

  /// When all has been said: finishes each, and none is replaced any more. Failures are of no
  /// interest. Waits for a lane that is still writing, until cut().
  void finish();

 private:
  struct Lane {
    std::unique_ptr<Link> before = {};  // finished here, and perhaps not read to its end there yet
    std::unique_ptr<Link> now;
    bool asks = false;  // for another one
  };

  Task<Greeted> dial_one(std::uint16_t lane) const;
  Result<Greeted> dial_again(std::uint16_t lane);
  std::unique_ptr<Link> link_of(std::unique_ptr<Channel> channel) const;
  Result<std::unique_ptr<Link>> another(std::uint16_t lane);
  Result<void> ask(std::uint16_t lane);

  EventLoop& loop_;
  Conversation& conversation_;
  const Way way_;
  std::stop_source over_;

  std::mutex mutex_;  // guards the rest; a lane's thread reads its own links without it
  std::condition_variable answered_;
  bool cut_ = false;
  bool finished_ = false;
  std::vector<Lane> lanes_;  // as many as there are, once open() has returned
};

}  // namespace ferry
