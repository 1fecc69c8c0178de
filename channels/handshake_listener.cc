#include "channels/handshake_listener.h"

#include <utility>

#include "channels/retold.h"
#include "loop/handshakes.h"
#include "loop/task_group.h"

namespace ferry {
namespace {

// All channels of a session may come at once, and as many strangers.
constexpr std::size_t k_max_handshakes = 512;

class HandshakeListener final : public Listener {
 public:
  HandshakeListener(EventLoop& loop, std::unique_ptr<Listener> inner, Uri local,
                    ShakeHands shake_hands)
      : inner_(std::move(inner)),
        inner_scheme_(inner_->local().scheme),
        local_(std::move(local)),
        shake_hands_(std::move(shake_hands)),
        handshakes_(loop, k_max_handshakes),
        door_(loop) {
    door_.spawn(serve());
  }

  Task<std::unique_ptr<Channel>> accept() override { return handshakes_.next(); }

  Uri local() const override { return local_; }
  Reach reach() const noexcept override { return inner_->reach(); }

 private:
  Task<void> serve() {
    for (;;) {
      Result<std::unique_ptr<Channel>> inner = co_await inner_->accept().caught();
      if (!inner) {
        Error error = std::move(inner).error();
        error.context = ours(std::move(error.context));
        const bool one_peers = error.code == Errc::auth;
        handshakes_.add_failure(std::move(error));
        if (one_peers) continue;
        co_return;
      }
      std::string act = "shake hands with " + ours((*inner)->info().peer);
      handshakes_.begin(shake_hands_(std::move(*inner)), std::move(act));
    }
  }

  std::string ours(std::string text) const {
    return with_scheme(std::move(text), inner_scheme_, local_.scheme);
  }

  std::unique_ptr<Listener> inner_;
  const std::string inner_scheme_;
  const Uri local_;
  const ShakeHands shake_hands_;
  Handshakes handshakes_;
  TaskGroup door_;  // last: it uses all of the above
};

}  // namespace

std::unique_ptr<Listener> make_handshake_listener(EventLoop& loop, std::unique_ptr<Listener> inner,
                                                  Uri local, ShakeHands shake_hands) {
  return std::make_unique<HandshakeListener>(loop, std::move(inner), std::move(local),
                                             std::move(shake_hands));
}

}  // namespace ferry
