#include "loop/handshakes.h"

#include <chrono>
#include <utility>

namespace ferry {
namespace {

constexpr std::chrono::seconds k_handshake_time{10};

}  // namespace

void Handshakes::begin(Task<std::unique_ptr<Channel>> handshake, std::string act) {
  if (under_way_.size() >= most_) under_way_.drop_oldest();
  under_way_.spawn(shake(std::move(handshake), std::move(act)));
}

Task<void> Handshakes::shake(Task<std::unique_ptr<Channel>> handshake, std::string act) {
  Arrival channel =
      co_await loop_.within(Clock::now() + k_handshake_time, std::move(handshake), std::move(act))
          .caught();
  if (channel || channel.error().code == Errc::auth) arrivals_.add(std::move(channel));
}

Task<std::unique_ptr<Channel>> Handshakes::next() {
  Arrivals<Arrival>::Next next(arrivals_);
  Arrival channel = co_await next;
  co_return std::move(channel);
}

}  // namespace ferry
