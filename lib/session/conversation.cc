#include "session/conversation.h"

#include <fmt/format.h>

#include "loop/thread.h"

namespace ferry {
namespace {

// Enough for what may come before the conducting thread looks: a peer that sends more without being
// asked is not read until it does.
constexpr std::size_t k_waiting_frames = 64;

Task<void> cancel_later(EventLoop& loop, Link& link,
                        std::chrono::milliseconds in = Conversation::k_last_words) {
  co_await loop.sleep_until(Clock::now() + in);
  link.cancel(Errc::timed_out);
}

}  // namespace

Conversation::Conversation(EventLoop& loop, std::unique_ptr<Channel> channel, Role role,
                           std::chrono::milliseconds timeout, Observer observer)
    : loop_(loop),
      timeout_(timeout),
      observer_(std::move(observer)),
      link_(std::move(channel), liveness_),
      role_(std::move(role)),
      frames_(k_waiting_frames) {}

Conversation::~Conversation() {
  frames_.close();
  link_.cancel(Errc::cancelled);
  join_reader();
}

Result<void> Conversation::start(std::stop_token stop) {
  // The other channels of the session are of the same transport, and fall short as well.
  const std::string& shortfall = link_.info().shortfall;
  if (!shortfall.empty()) warn(shortfall);
  reader_ = FERRY_TRY(start_thread("ferry-control", [this] { read_all(); }));
  pulse_.emplace(
      loop_, liveness_, timeout_, [this] { beat(); },
      [this] {
        fail({Errc::timed_out,
              0,
              fmt::format("hear from {} at {}: silent for {:.0f} s", role_.peer, link_.info().peer,
                          std::chrono::duration<double>(Clock::now() - liveness_.last()).count()),
              {}});
      });
  FERRY_TRY(pulse_->start());
  on_stop_.emplace(std::move(stop), [this] { stop_requested(); });
  return {};
}

void Conversation::beat() {
  // A failure to write is the reader's to notice: the line is cut for both.
  (void)link_.send(role_.heartbeat());
  if (!observer_.progress) return;
  std::unique_lock lock(mutex_);
  const wire::Heartbeat peer = peer_;
  lock.unlock();
  const Progress progress = role_.progress(peer);
  const std::scoped_lock telling(telling_);
  observer_.progress(progress);
}

void Conversation::warn(const std::string& text) {
  if (!observer_.warning) return;
  const std::scoped_lock telling(telling_);
  observer_.warning({text});
}

void Conversation::stop_requested() {
  {
    // Under the lock: whoever passes the point of no return finds this failure, or is not stopped.
    const std::scoped_lock lock(mutex_);
    if (sealed_ || !first_.set({Errc::cancelled, 0, "cancelled", {}})) return;
  }
  spread(Errc::cancelled);
}

Result<void> Conversation::send(const wire::ControlFrame& frame) {
  FERRY_TRY(whole());
  return link_.send(frame);
}

Result<void> Conversation::whole() const {
  if (auto error = first_.get()) return std::unexpected(std::move(*error));
  return {};
}

Result<wire::ControlFrame> Conversation::next() {
  if (auto frame = frames_.pop()) return std::move(*frame);
  return std::unexpected(*first_.get());  // nothing else closes the queue
}

std::uint64_t Conversation::peer_verified() {
  const std::scoped_lock lock(mutex_);
  return peer_.bytes_verified;
}

void Conversation::fail(Error error) {
  const Errc code = error.code;
  if (first_.set(std::move(error))) spread(code);
}

void Conversation::spread(Errc why) {
  frames_.close();
  role_.cut(why);
}

Result<void> Conversation::pass_point_of_no_return() {
  const std::scoped_lock lock(mutex_);
  if (auto error = first_.get()) return std::unexpected(std::move(*error));
  sealed_ = true;
  return {};
}

void Conversation::read_all() {
  if (auto read = read_frames(); !read && !over_) fail(std::move(read).error());
}

Result<void> Conversation::read_frames() {
  while (const auto message = FERRY_TRY(link_.next())) {
    if (message->kind == wire::MessageKind::control) {
      FERRY_TRY(take(FERRY_TRY(wire::decode_control(message->bytes))));
    } else if (role_.packet) {
      FERRY_TRY(role_.packet(message->bytes, link_));
    } else {
      return ferry::fail(Errc::protocol, "a packet on the control channel");
    }
  }
  return ferry::fail(Errc::disconnected,
                     fmt::format("read from {}: it ended before its time", role_.peer));
}

Result<void> Conversation::take(const wire::ControlFrame& frame) {
  if (const auto* heartbeat = std::get_if<wire::Heartbeat>(&frame)) {
    const std::scoped_lock lock(mutex_);
    const std::uint64_t before = peer_.bytes_verified;
    peer_ = *heartbeat;
    peer_.bytes_verified = std::max(before, peer_.bytes_verified);  // what is verified stays so
    return {};
  }
  if (std::holds_alternative<wire::Unknown>(frame)) return {};
  if (const auto* abort = std::get_if<wire::Abort>(&frame)) {
    Error error = of_peer(*abort);
    if (!over_) explain(error);
    return std::unexpected(std::move(error));
  }
  if (FERRY_TRY(role_.intercept(frame))) return {};
  if (std::holds_alternative<wire::Started>(frame)) over_ = true;  // nothing need follow it
  frames_.push(frame);
  return {};
}

/// What the peer says of its failure is ours, too, unless we failed before; and it explains a line
/// that was cut a moment ago.
void Conversation::explain(const Error& error) {
  const bool first = first_.set(error);
  if (!first && first_.get()->code != Errc::disconnected) return;
  first_.replace(error);
  {
    const std::scoped_lock lock(mutex_);
    peer_explained_ = true;
  }
  if (first) spread(error.code);
}

Error Conversation::of_peer(const wire::Abort& abort) const {
  switch (abort.code) {
    case Errc::refused:
    case Errc::unsupported:
    case Errc::auth:
      return {Errc::refused, 0, fmt::format("{} refused: {}", role_.peer, abort.text), {}};
    case Errc::integrity:
      return {Errc::integrity, 0, fmt::format("{} found damage: {}", role_.peer, abort.text), {}};
    case Errc::cancelled:
      return {Errc::disconnected, 0, fmt::format("{} was cancelled", role_.peer), {}};
    default:
      return {Errc::disconnected, 0, fmt::format("{} failed: {}", role_.peer, abort.text), {}};
  }
}

void Conversation::conclude(const wire::ControlFrame& last) {
  over_ = true;
  const Background bound(loop_, cancel_later(loop_, link_, timeout_));
  (void)link_.send(last);
}

void Conversation::end() {
  {
    const Background bound(loop_, cancel_later(loop_, link_));
    (void)link_.finish();
  }
  hang_up();
}

Error Conversation::give_up(Error error) {
  fail(std::move(error));
  {
    const Background bound(loop_, cancel_later(loop_, link_));
    last_words(*first_.get());
  }
  hang_up();
  return *first_.get();
}

void Conversation::hang_up() {
  frames_.close();  // the reader may wait there for somebody who wants more
  {
    const Background bound(loop_, cancel_later(loop_, link_));
    join_reader();
  }
  link_.cancel(Errc::cancelled);  // a heartbeat may be stuck in it
  on_stop_.reset();
  pulse_.reset();
}

void Conversation::last_words(const Error& error) {
  {
    const std::scoped_lock lock(mutex_);
    if (peer_explained_) return;
  }
  (void)link_.send(wire::Abort{.code = error.code, .text = error.text()});
  (void)link_.finish();
}

void Conversation::join_reader() {
  if (reader_.joinable()) reader_.join();
}

}  // namespace ferry
