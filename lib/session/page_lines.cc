#include "session/page_lines.h"

#include <fmt/format.h>

#include <utility>

namespace ferry {
namespace {

constexpr const char* k_over = "the session is over";

// Between two attempts to reach a receiver that was reached before.
constexpr std::chrono::milliseconds k_pause{300};

/// May another attempt end otherwise? Whoever says no goes on to say it.
bool may_pass(Errc why) noexcept {
  return why == Errc::disconnected || why == Errc::unreachable || why == Errc::timed_out;
}

}  // namespace

PageLines::PageLines(EventLoop& loop, Conversation& conversation, Way way)
    : loop_(loop), conversation_(conversation), way_(std::move(way)) {}

Result<void> PageLines::open(std::uint16_t count) {
  std::vector<Task<Greeted>> dials;
  for (std::uint16_t lane = 0; lane < count; ++lane) dials.push_back(dial_one(lane));
  auto greeted = FERRY_TRY(block_on(loop_, loop_.all(std::move(dials)), over_.get_token()));
  const std::scoped_lock lock(mutex_);
  if (cut_) return fail(Errc::cancelled, k_over);
  for (Greeted& lane : greeted) lanes_.push_back({.now = link_of(std::move(lane.channel))});
  return {};
}

Task<Greeted> PageLines::dial_one(std::uint16_t lane) const {
  const wire::Hello hello{.session = way_.session, .role = wire::Role::page, .index = lane};
  return dial(loop_, way_.transport, way_.to, hello, way_.secret, Clock::now() + way_.timeout);
}

std::unique_ptr<Link> PageLines::link_of(std::unique_ptr<Channel> channel) const {
  return std::make_unique<Link>(std::move(channel), conversation_.liveness());
}

Result<Link*> PageLines::replace(std::uint16_t index) {
  if ((way_.features & wire::k_replaced_channels) == 0) return nullptr;
  auto next = another(index);
  if (!next) {
    Error error = std::move(next).error();
    error.context = fmt::format("replace channel {}, which is worn: {}", index, error.context);
    return std::unexpected(std::move(error));
  }
  Lane& lane = lanes_[index];
  std::unique_ptr<Link> gone;  // destroyed without the lock
  const std::scoped_lock lock(mutex_);
  if (cut_ || finished_) return fail(Errc::cancelled, k_over);
  gone = std::exchange(lane.before, std::exchange(lane.now, std::move(*next)));
  return lane.now.get();
}

/// With which the link that there is has ended.
Result<std::unique_ptr<Link>> PageLines::another(std::uint16_t index) {
  Lane& lane = lanes_[index];
  // Nobody is to wait for what this lane has pinned at the receiver while it waits here.
  FERRY_TRY(lane.now->flush());
  // A receiver holds one in reserve for a lane, and no more. And what is closed here before it was
  // read there might be reset.
  if (lane.before) FERRY_TRY(lane.before->hear_the_end());
  FERRY_TRY(ask(index));
  Greeted greeted = FERRY_TRY(dial_again(index));
  std::unique_ptr<Link> next = link_of(std::move(greeted.channel));
  if (next->places() != lane.now->places()) {
    return fail(Errc::protocol, "the new channel cannot do what the old one can");
  }
  FERRY_TRY(lane.now->finish());
  return next;
}

/// A door that is closed for a moment, hours after the session began, must not end it.
Result<Greeted> PageLines::dial_again(std::uint16_t index) {
  const auto deadline = Clock::now() + way_.timeout;
  while (true) {
    auto greeted = block_on(loop_, dial_one(index), over_.get_token());
    if (greeted || !may_pass(greeted.error().code) || Clock::now() + k_pause >= deadline) {
      return greeted;
    }
    FERRY_TRY(block_on(loop_, loop_.sleep_until(Clock::now() + k_pause), over_.get_token()));
  }
}

Result<void> PageLines::ask(std::uint16_t index) {
  Lane& lane = lanes_[index];
  const auto deadline = Clock::now() + way_.timeout;
  {
    const std::scoped_lock lock(mutex_);
    lane.asks = true;
  }
  FERRY_TRY(conversation_.send(wire::ReplaceChannel{index}));
  std::unique_lock lock(mutex_);
  const bool woken = answered_.wait_until(lock, deadline, [&] { return !lane.asks || cut_; });
  if (cut_) return fail(Errc::cancelled, k_over);
  if (woken) return {};
  return fail(Errc::timed_out, "the receiver does not answer");
}

bool PageLines::answered(const wire::ChannelsAck& ack) {
  const std::scoped_lock lock(mutex_);
  if (ack.count != 1 || ack.first >= lanes_.size() || !lanes_[ack.first].asks) return false;
  lanes_[ack.first].asks = false;
  answered_.notify_all();
  return true;
}

void PageLines::cut(Errc why) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    cut_ = true;
    for (const Lane& lane : lanes_) {
      lane.now->cancel(why);
      if (lane.before) lane.before->cancel(why);
    }
  }
  answered_.notify_all();
  over_.request_stop();
}

void PageLines::finish() {
  std::vector<Link*> links;
  {
    const std::scoped_lock lock(mutex_);
    finished_ = true;  // so that these stay
    for (const Lane& lane : lanes_) links.push_back(lane.now.get());
  }
  for (Link* const link : links) (void)link->finish();
}

}  // namespace ferry
