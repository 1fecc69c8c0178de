#include "channels/handshake_listener.h"

#include <chrono>
#include <utility>

#include "channels/retold.h"
#include "loop/arrivals.h"
#include "loop/task_group.h"

namespace ferry {
namespace {

constexpr std::chrono::seconds k_handshake_time{10};
// All channels of a session may come at once, and as many strangers.
constexpr std::size_t k_max_handshakes = 512;

class HandshakeListener final : public Listener {
 public:
  HandshakeListener(EventLoop& loop, std::unique_ptr<Listener> inner, Uri local,
                    ShakeHands shake_hands)
      : loop_(loop),
        inner_(std::move(inner)),
        inner_scheme_(inner_->local().scheme),
        local_(std::move(local)),
        shake_hands_(std::move(shake_hands)),
        arrivals_(loop),
        handshakes_(loop),
        door_(loop) {
    door_.spawn(serve());
  }

  Task<std::unique_ptr<Channel>> accept() override {
    Arrivals<Arrival>::Next next(arrivals_);
    Arrival channel = co_await next;
    co_return std::move(channel);
  }

  Uri local() const override { return local_; }

 private:
  using Arrival = Result<std::unique_ptr<Channel>>;

  Task<void> serve() {
    for (;;) {
      Result<std::unique_ptr<Channel>> inner = co_await inner_->accept().caught();
      if (!inner) {
        Error error = std::move(inner).error();
        error.context = ours(std::move(error.context));
        const bool one_peers = error.code == Errc::auth;
        arrivals_.add(std::unexpected(std::move(error)));
        if (one_peers) continue;
        co_return;
      }
      if (handshakes_.size() >= k_max_handshakes) handshakes_.drop_oldest();
      handshakes_.spawn(greet(std::move(*inner)));
    }
  }

  Task<void> greet(std::unique_ptr<Channel> inner) {
    std::string act = "shake hands with " + ours(inner->info().peer);
    Task<std::unique_ptr<Channel>> handshake = shake_hands_(std::move(inner));
    Result<std::unique_ptr<Channel>> channel =
        co_await loop_.within(Clock::now() + k_handshake_time, std::move(handshake), std::move(act))
            .caught();
    if (channel || channel.error().code == Errc::auth) arrivals_.add(std::move(channel));
  }

  std::string ours(std::string text) const {
    return with_scheme(std::move(text), inner_scheme_, local_.scheme);
  }

  EventLoop& loop_;
  std::unique_ptr<Listener> inner_;
  const std::string inner_scheme_;
  const Uri local_;
  const ShakeHands shake_hands_;
  Arrivals<Arrival> arrivals_;  // what the handshakes have come to
  TaskGroup handshakes_;
  TaskGroup door_;  // last: it uses all of the above
};

}  // namespace

std::unique_ptr<Listener> make_handshake_listener(EventLoop& loop, std::unique_ptr<Listener> inner,
                                                  Uri local, ShakeHands shake_hands) {
  return std::make_unique<HandshakeListener>(loop, std::move(inner), std::move(local),
                                             std::move(shake_hands));
}

}  // namespace ferry
