#include "session/rendezvous.h"

#include "session/greeting.h"

namespace ferry {
namespace {

// Peers that have not said who they are, besides the channels that are awaited, which may come all
// at once. Few, for each costs a line that is to be taken down when the session is over.
constexpr std::size_t k_max_strangers = 64;

}  // namespace

Rendezvous::Rendezvous(EventLoop& loop, std::unique_ptr<Listener> listener,
                       std::function<void(wire::Hello, std::unique_ptr<Channel>)> arrived,
                       std::function<void(Error)> on_failure)
    : loop_(loop),
      local_(listener->local()),
      reach_(listener->reach()),
      arrived_(std::move(arrived)),
      on_failure_(std::move(on_failure)),
      door_(loop, serve(std::move(listener))) {}

Task<void> Rendezvous::serve(std::unique_ptr<Listener> listener) {
  TaskGroup greetings(loop_);
  while (true) {
    Result<std::unique_ptr<Channel>> channel = co_await listener->accept().caught();
    if (!channel) {
      // Who has begun is not ended by somebody else's wrong key.
      if (channel.error().code == Errc::auth && admission_.begun()) {
        refused_.fetch_add(1, std::memory_order_relaxed);
        continue;
      }
      on_failure_(std::move(channel).error());
      co_return;
    }
    while (greetings.size() >= admission_.awaited() + k_max_strangers) {
      greetings.drop_oldest();
      refused_.fetch_add(1, std::memory_order_relaxed);
    }
    greetings.spawn(greet(std::move(*channel)));
  }
}

Task<void> Rendezvous::greet(std::unique_ptr<Channel> channel) {
  const Clock::time_point deadline = Clock::now() + k_greeting_time;
  Result<wire::Hello> hello =
      co_await loop_.within(deadline, read_hello(loop_, *channel), "wait for a Hello").caught();
  if (!hello) {
    co_await refuse(*channel, refusal(hello.error()));
    co_return;
  }
  const wire::HelloAck ack = admission_.admit(*hello, channel->facets().binding);
  if (ack.verdict != wire::HelloAck::Verdict::accepted) {
    co_await refuse(*channel, ack);
    co_return;
  }
  Result<void> told =
      co_await loop_.within(deadline, answer_hello(loop_, *channel, ack), "answer a Hello")
          .caught();
  if (!told) {
    admission_.withdraw(*hello);
    co_return;
  }
  arrived_(*hello, std::move(channel));
}

Task<void> Rendezvous::refuse(Channel& channel, wire::HelloAck ack) {
  refused_.fetch_add(1, std::memory_order_relaxed);
  // A time of its own: the greeting's may be over.
  co_await loop_.within(Clock::now() + k_farewell_time, turn_away(loop_, channel, std::move(ack)),
                        "refuse a peer");
}

}  // namespace ferry
