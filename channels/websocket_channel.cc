#include "channels/websocket_channel.h"

#include <poll.h>

#include <cassert>
#include <utility>

#include "base/iovec_window.h"

namespace ferry {
namespace {

// Plain bytes that a write which must not block takes at a time: it may have to keep them.
constexpr std::size_t k_most_a_message = 64 * 1024;

// Less is not worth the system calls that it takes to wait for all of it.
constexpr std::size_t k_bulk_bytes = 64 * 1024;

// Answers that a peer asks for by its pings and then does not read, beside a message or two of
// ours.
constexpr std::size_t k_most_outgoing =
    64 * 1024 + 2 * (WebsocketEngine::k_most_message_bytes + 16);

}  // namespace

WebsocketChannel::WebsocketChannel(std::unique_ptr<Channel> inner,
                                   std::unique_ptr<WebsocketEngine> engine, ChannelInfo info,
                                   std::chrono::milliseconds ping_after)
    : info_(std::move(info)),
      inner_(std::move(inner), info_.peer),
      bulk_(inner_.pollable() == nullptr ? nullptr : inner_->facets().bulk_read),
      ping_after_(ping_after),
      engine_(std::move(engine)) {}

WebsocketChannel::~WebsocketChannel() {
  if (!we_finished_ || inner_finished_ || !inner_.check_writing()) return;
  // The last words are on their way, and a reset could overtake them. Nothing may block here: a
  // line that takes no byte now is left to the reset.
  if (inner_.pollable() != nullptr) {
    pollfd line{.fd = inner_.pollable()->fd(), .events = POLLOUT, .revents = 0};
    if (::poll(&line, 1, 0) != 1 || (line.revents & POLLOUT) == 0) return;
  }
  finish_inner();
}

Facets WebsocketChannel::facets() noexcept {
  return {.placed_io = nullptr,
          .pollable = inner_.pollable() == nullptr ? nullptr : static_cast<Pollable*>(this),
          .binding = inner_->facets().binding,
          .crypto_clock = inner_->facets().crypto_clock,
          .wear = inner_->facets().wear};
}

Result<std::size_t> WebsocketChannel::read_some(std::span<const iovec> into) {
  for (;;) {
    const auto bytes = FERRY_TRY(decode(into, WebsocketEngine::Target::callers));
    if (bytes) return *bytes;
    FERRY_TRY(fill());
  }
}

Result<Pollable::Step> WebsocketChannel::try_read_some(std::span<const iovec> into) {
  for (;;) {
    const auto bytes = FERRY_TRY(decode(into, WebsocketEngine::Target::own));
    if (bytes) return Step{.bytes = *bytes};
    const auto step = inner_.pollable()->try_read_some(room());
    if (!step) return inner_.reading_failed(step.error());
    if (step->wait_for != Interest::none) return *step;
    FERRY_TRY(arrived(step->bytes));
  }
}

/// Bytes, 0 when the peer has finished, or nothing where more must arrive first.
Result<std::optional<std::size_t>> WebsocketChannel::decode(std::span<const iovec> into,
                                                            WebsocketEngine::Target target) {
  assert(total_bytes(into) > 0);
  FERRY_TRY(inner_.check_reading());
  std::unique_lock lock(mutex_);
  if (peer_finished_) return 0;
  auto plain = engine_->decode(into, target);
  if (plain && plain->finished) {
    peer_finished_ = true;
    if (we_finished_) engine_->say_close();
  }
  const bool flooded = engine_->outgoing_bytes() > k_most_outgoing;
  lock.unlock();
  send_answers();  // after a failure too: the peer is told of it
  if (!plain) return inner_.reading_failed(std::move(plain).error());
  if (flooded)
    return inner_.reading_failed({Errc::protocol, 0, "it asks and reads no answers", {}});
  if (plain->bytes > 0 || plain->finished) return plain->bytes;
  return std::nullopt;
}

std::span<const iovec> WebsocketChannel::room() {
  const std::scoped_lock lock(mutex_);
  return engine_->room();
}

/// Reads what comes next on the line, and pings while nothing does.
Result<void> WebsocketChannel::fill() {
  const std::span<const iovec> pieces = room();
  if (inner_.pollable() == nullptr) {
    auto got = inner_->read_some(pieces);
    if (!got) return inner_.reading_failed(std::move(got).error());
    return arrived(*got);
  }
  if (bulk_ != nullptr && total_bytes(pieces) >= k_bulk_bytes) return fill_all(pieces);
  for (;;) {
    const auto step = inner_.pollable()->try_read_some(pieces);
    if (!step) return inner_.reading_failed(step.error());
    if (step->wait_for == Interest::none) return arrived(step->bytes);
    wait_for_bytes(step->wait_for);
  }
}

/// The rest of a message, which is on its way: the engine makes so much room for nothing else.
Result<void> WebsocketChannel::fill_all(std::span<const iovec> pieces) {
  while (!wait_for_bytes(Interest::read)) continue;
  auto got = bulk_->read_bulk(pieces, total_bytes(pieces));
  if (!got) return inner_.reading_failed(std::move(got).error());
  return arrived(*got);
}

/// Is there something to read now, or an end? cancel() ends it: it makes the descriptor ready.
bool WebsocketChannel::wait_for_bytes(Interest interest) {
  short events = 0;
  if (wants(interest, Interest::read)) events |= POLLIN;
  if (wants(interest, Interest::write) || answers_wait()) events |= POLLOUT;
  pollfd line{.fd = inner_.pollable()->fd(), .events = events, .revents = 0};
  const int ready = ::poll(&line, 1, static_cast<int>(ping_after_.count()));
  if (ready == 0) ping();
  if (ready == 0 || (line.revents & POLLOUT) != 0) send_answers();
  return (line.revents & ~POLLOUT) != 0;
}

void WebsocketChannel::ping() {
  const std::scoped_lock lock(mutex_);
  // A peer that reads nothing has enough to read, and so has whoever cuts silent lines.
  if (engine_->outgoing_bytes() == 0) engine_->ping();
}

Result<void> WebsocketChannel::arrived(std::size_t bytes) {
  if (bytes == 0) {
    return inner_.reading_failed({Errc::disconnected, 0,
                                  "the line ended without WebSocket's goodbye: it was cut",
                                  "a proxy on the way may have a time-out or a limit"});
  }
  const std::scoped_lock lock(mutex_);
  engine_->arrived(bytes);
  return {};
}

Result<void> WebsocketChannel::write(std::span<const iovec> from, Loan) {
  FERRY_TRY(inner_.check_writing());
  IovecWindow rest(from);
  if (owed_ > 0) {  // the first of `from` are on their way since try_write_some()
    assert(owed_ <= total_bytes(from));
    FERRY_TRY(send_outgoing());
    rest.advance(std::exchange(owed_, 0));
  }
  while (!rest.done()) {
    FERRY_TRY(encode(rest));
    FERRY_TRY(send_outgoing());
  }
  return {};
}

Result<Pollable::Step> WebsocketChannel::try_write_some(std::span<const iovec> from) {
  FERRY_TRY(inner_.check_writing());
  if (const Interest wait = FERRY_TRY(try_send_outgoing()); wait != Interest::none) {
    return Step{.wait_for = wait};
  }
  if (owed_ == 0) {
    IovecWindow some(from);
    const auto window = some.window(k_most_a_message);
    const std::size_t bytes = total_bytes(window);
    if (bytes == 0) return Step{};
    IovecWindow rest(window);
    FERRY_TRY(encode(rest));
    assert(rest.done());
    owed_ = bytes;
    if (const Interest wait = FERRY_TRY(try_send_outgoing()); wait != Interest::none) {
      return Step{.wait_for = wait};
    }
  }
  return Step{.bytes = std::exchange(owed_, 0)};
}

Result<void> WebsocketChannel::encode(IovecWindow& from) {
  std::unique_lock lock(mutex_);
  assert(!we_finished_);
  writing_ = true;
  auto encoded = engine_->encode(from);
  lock.unlock();
  if (!encoded) return inner_.writing_failed(std::move(encoded).error());
  return {};
}

/// All that is for the peer, ours and answers: those that come meanwhile are left to us.
Result<void> WebsocketChannel::send_outgoing() {
  do {
    const std::scoped_lock line(sending_);
    while (gather()) {
      const iovec piece = piece_of(std::span(outgoing_).subspan(sent_));
      auto written = inner_->write({&piece, 1});
      sent_ = outgoing_.size();
      if (!written) return inner_.writing_failed(std::move(written).error());
    }
  } while (more_to_send());
  return {};
}

/// The same as far as it goes at once: what to wait for, or none when everything has been sent.
Result<Interest> WebsocketChannel::try_send_outgoing() {
  do {
    std::unique_lock line(sending_);
    auto wait = try_send(line);
    if (!wait) return inner_.writing_failed(std::move(wait).error());
    if (*wait != Interest::none) return *wait;
  } while (more_to_send());
  return Interest::none;
}

/// By the reading thread. A failure is the writer's to hear of, from its own call.
void WebsocketChannel::send_answers() {
  while (answers_are_ours() || answers_wait()) {
    std::unique_lock line(sending_, std::try_to_lock);
    if (!line) return;  // a writer has begun meanwhile, and sends them
    const auto wait = try_send(line);
    if (!wait || *wait != Interest::none) return;
  }
}

Result<Interest> WebsocketChannel::try_send([[maybe_unused]] std::unique_lock<std::mutex>& line) {
  assert(line.owns_lock());
  while (gather()) {
    const iovec piece = piece_of(std::span(outgoing_).subspan(sent_));
    if (inner_.pollable() == nullptr) {
      FERRY_TRY(inner_->write({&piece, 1}));
      sent_ = outgoing_.size();
      continue;
    }
    const Step step = FERRY_TRY(inner_.pollable()->try_write_some({&piece, 1}));
    if (step.wait_for != Interest::none) return step.wait_for;
    sent_ += step.bytes;
  }
  return Interest::none;
}

/// With sending_ held. Is there anything to send?
bool WebsocketChannel::gather() {
  if (sent_ < outgoing_.size()) return true;
  outgoing_.clear();
  sent_ = 0;
  const std::scoped_lock lock(mutex_);
  engine_->take_outgoing(outgoing_);
  return !outgoing_.empty();
}

/// By the writing thread, which is done where there is nothing.
bool WebsocketChannel::more_to_send() {
  const std::scoped_lock lock(mutex_);
  writing_ = engine_->outgoing_bytes() > 0;
  return writing_;
}

/// By the reading thread: nobody writes who would send them.
bool WebsocketChannel::answers_are_ours() const {
  const std::scoped_lock lock(mutex_);
  return !writing_ && engine_->outgoing_bytes() > 0;
}

/// Is something left that did not go at once, and nobody at work on it?
bool WebsocketChannel::answers_wait() {
  const std::unique_lock line(sending_, std::try_to_lock);
  return line && sent_ < outgoing_.size();
}

Result<void> WebsocketChannel::flush() {
  FERRY_TRY(inner_.check_writing());
  if (auto flushed = inner_->flush(); !flushed)
    return inner_.writing_failed(std::move(flushed).error());
  return {};
}

Result<void> WebsocketChannel::finish() {
  FERRY_TRY(inner_.check_writing());
  std::unique_lock lock(mutex_);
  auto said = engine_->say_finished();
  we_finished_ = true;
  writing_ = true;
  const bool over = peer_finished_;
  if (over) engine_->say_close();
  lock.unlock();
  if (!said) return inner_.writing_failed(std::move(said).error());
  FERRY_TRY(send_outgoing());
  if (over) finish_inner();
  return {};
}

/// That the peer is gone meanwhile is no failure: both have said their last word.
void WebsocketChannel::finish_inner() {
  inner_finished_ = true;
  [[maybe_unused]] const Result<void> finished = inner_->finish();
}

void WebsocketChannel::cancel(Errc why) noexcept { inner_.cancel(why); }

}  // namespace ferry
