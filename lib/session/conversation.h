// The control channel of a session, from either side: frames, heartbeats, silence, and last words.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <variant>

#include "base/bounded_queue.h"
#include "base/first_error.h"
#include "ferry/guest.h"
#include "multifd/link.h"
#include "session/pulse.h"
#include "wire/control.h"

namespace ferry {

/// Reads the control channel in a thread of its own, and hands its frames to the one thread that
/// conducts the session. Collects the first failure of all threads, and sees to it that everybody
/// who waits hears of it.
class Conversation {
 public:
  /// How long a side that ends waits for its last words to be heard, and for the peer's.
  static constexpr std::chrono::milliseconds k_last_words{600};

  /// What the owner adds. Called from threads of the conversation, one call at a time each; none
  /// may call back into it but for fail() and send().
  struct Role {
    std::string peer;  ///< "the receiver" or "the sender", for errors
    /// Frames that cannot wait for the conducting thread (NAKs). True: it was dealt with.
    std::function<Result<bool>(const wire::ControlFrame&)> intercept;
    /// Packets of a solo channel; empty elsewhere, where they are an error.
    std::function<Result<void>(std::span<const std::byte> header, Link&)> packet;
    /// What to tell the peer each second, and what to tell our own observer.
    std::function<wire::Heartbeat()> heartbeat;
    std::function<Progress(const wire::Heartbeat& peer)> progress;
    /// The first failure, whatever it is: cancels what the owner has. Must not block.
    std::function<void(Errc)> cut;
  };

  Conversation(EventLoop& loop, std::unique_ptr<Channel> channel, Role role,
               std::chrono::milliseconds timeout, Observer observer);
  ~Conversation();

  /// Begins to read and to beat. From here on a stop request ends the session. Errc::system.
  Result<void> start(std::stop_token stop);

  Link& link() noexcept { return link_; }
  Liveness& liveness() noexcept { return liveness_; }

  /// Thread-safe.
  Result<void> send(const wire::ControlFrame& frame);

  /// Blocks for the next frame that is for the conducting thread. After a failure anywhere, it.
  Result<wire::ControlFrame> next();
  /// The same, where only one kind of frame may come.
  template <class Frame>
  Result<Frame> expect();

  /// Thread-safe. The first failure anywhere, where there was one.
  Result<void> whole() const;

  /// Thread-safe. Tells the observer.
  void warn(const std::string& text);

  /// Thread-safe. What the peer's last heartbeat said has arrived there.
  std::uint64_t peer_verified();

  /// Thread-safe. Ends the session, unless something else did before.
  void fail(Error error);

  /// From here on a stop request is not heard any more. Fails where something failed before.
  Result<void> pass_point_of_no_return();

  /// The first failure. There must be one.
  Error failure() const { return *first_.get(); }

  /// Sends the last frame of a good session, also where something has failed meanwhile: it is true
  /// all the same. Whatever the peer does after it is its own affair. (For the side that reads the
  /// last frame, a Started, the same holds once it has come.)
  void conclude(const wire::ControlFrame& last);
  /// Both have said all: finishes, and waits (bounded) for the peer's finish.
  void end();
  /// Tells the peer why it ends (bounded in time), hears the peer's own last words, and returns the
  /// reason that explains most: `error` or what failed before it.
  Error give_up(Error error);

 private:
  void read_all();
  void beat();
  void stop_requested();
  void spread(Errc why);
  Result<void> read_frames();
  Result<void> take(const wire::ControlFrame& frame);
  Error of_peer(const wire::Abort& abort) const;
  void explain(const Error& error);
  void last_words(const Error& error);
  void hang_up();
  void join_reader();

  EventLoop& loop_;
  const std::chrono::milliseconds timeout_;
  const Observer observer_;
  std::mutex telling_;  // the observer hears one thing at a time
  Liveness liveness_;
  Link link_;
  const Role role_;
  BoundedQueue<wire::ControlFrame> frames_;
  FirstError first_;

  std::mutex mutex_;  // guards the next three
  wire::Heartbeat peer_;
  bool sealed_ = false;          // past the point of no return
  bool peer_explained_ = false;  // the failure is the peer's: it knows

  std::atomic<bool> over_ =
      false;  // all is said: a read that fails is no failure. Guards nothing else

  std::thread reader_;
  std::optional<Pulse> pulse_;
  std::optional<std::stop_callback<std::function<void()>>> on_stop_;
};

template <class Frame>
Result<Frame> Conversation::expect() {
  wire::ControlFrame frame = FERRY_TRY(next());
  if (auto* wanted = std::get_if<Frame>(&frame)) return std::move(*wanted);
  return std::unexpected(Error{Errc::protocol,
                               0,
                               "read from " + role_.peer + ": '" +
                                   std::string(wire::name_of(frame)) + "' where '" +
                                   std::string(wire::name_of(Frame{})) + "' was expected",
                               {}});
}

}  // namespace ferry
