#include "channels/tls_channel.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <utility>

#include "base/iovec_window.h"
#include "channels/retold.h"

namespace ferry {
namespace {

// Plain bytes that a write which must not block encrypts at a time: it may have to keep them.
constexpr std::size_t k_most_at_once = 64 * 1024;

using Clock = std::chrono::steady_clock;

std::int64_t since(Clock::time_point begin) {
  return std::chrono::nanoseconds(Clock::now() - begin).count();
}

}  // namespace

Result<std::unique_ptr<TlsChannel>> TlsChannel::create(std::unique_ptr<Channel> inner,
                                                       std::unique_ptr<TlsEngine> engine,
                                                       ChannelInfo info) {
  const TlsEngine::Exported exported = FERRY_TRY(engine->exported());
  return std::unique_ptr<TlsChannel>(
      new TlsChannel(std::move(inner), std::move(engine), std::move(info), exported));
}

TlsChannel::TlsChannel(std::unique_ptr<Channel> inner, std::unique_ptr<TlsEngine> engine,
                       ChannelInfo info, const TlsEngine::Exported& exported)
    : inner_(std::move(inner)),
      pollable_(inner_->facets().pollable),
      info_(std::move(info)),
      read_act_("read from " + info_.peer),
      write_act_("write to " + info_.peer),
      exported_(exported),
      engine_(std::move(engine)) {}

Facets TlsChannel::facets() noexcept {
  const Facets inner = inner_->facets();
  return {.placed_io = inner.placed_io,
          .placed_target = inner.placed_target,
          .pollable = pollable_ == nullptr ? nullptr : static_cast<Pollable*>(this),
          .binding = this,
          .crypto_clock = this};
}

Result<std::size_t> TlsChannel::read_some(std::span<const iovec> into) {
  for (;;) {
    if (const auto bytes = FERRY_TRY(decrypt(into))) return *bytes;
    const iovec piece = room();
    auto got = inner_->read_some({&piece, 1});
    if (!got) return reading_failed(std::move(got).error());
    FERRY_TRY(arrived(*got));
  }
}

Result<Pollable::Step> TlsChannel::try_read_some(std::span<const iovec> into) {
  for (;;) {
    if (const auto bytes = FERRY_TRY(decrypt(into))) return Step{.bytes = *bytes};
    const iovec piece = room();
    const auto step = pollable_->try_read_some({&piece, 1});
    if (!step) return reading_failed(step.error());
    if (step->wait_for != Interest::none) return *step;
    FERRY_TRY(arrived(step->bytes));
  }
}

/// Bytes, 0 at the peer's goodbye, or nothing where more must arrive first.
Result<std::optional<std::size_t>> TlsChannel::decrypt(std::span<const iovec> into) {
  assert(total_bytes(into) > 0);
  if (read_failure_) return std::unexpected(*read_failure_);
  if (auto reason = cancelled_.error(read_act_)) return std::unexpected(std::move(*reason));
  std::unique_lock lock(mutex_);
  const auto begin = Clock::now();
  auto plain = engine_->decrypt(into);
  decrypting_.fetch_add(since(begin), std::memory_order_relaxed);
  lock.unlock();
  if (!plain) return reading_failed(std::move(plain).error());
  if (plain->bytes > 0 || plain->finished) return plain->bytes;
  return std::nullopt;
}

iovec TlsChannel::room() {
  const std::scoped_lock lock(mutex_);
  return piece_of(engine_->room());
}

Result<void> TlsChannel::arrived(std::size_t bytes) {
  if (bytes == 0) {
    return reading_failed(
        {Errc::disconnected, 0, "the line ended without TLS's goodbye: it was cut", {}});
  }
  const std::scoped_lock lock(mutex_);
  engine_->arrived(bytes);
  return {};
}

Result<void> TlsChannel::write(std::span<const iovec> from, Loan) {
  FERRY_TRY(check_writing());
  IovecWindow rest(from);
  if (!outgoing_.empty()) {  // what try_write_some() has left: the first of `from` are in there
    assert(owed_ <= total_bytes(from));
    FERRY_TRY(send_outgoing());
    rest.advance(std::exchange(owed_, 0));
    if (rest.done()) return {};
  }
  do {
    const auto encrypted = encrypt(rest);
    FERRY_TRY(send_outgoing());  // after a failure too: an alert tells the peer of it
    FERRY_TRY(encrypted);
  } while (!rest.done());
  return {};
}

Result<Pollable::Step> TlsChannel::try_write_some(std::span<const iovec> from) {
  FERRY_TRY(check_writing());
  if (const Interest wait = FERRY_TRY(try_send_outgoing()); wait != Interest::none) {
    return Step{.wait_for = wait};
  }
  if (owed_ == 0) {
    IovecWindow some(from);
    const auto window = some.window(k_most_at_once);
    IovecWindow rest(window);
    const std::size_t bytes = total_bytes(window);
    FERRY_TRY(encrypt(rest));
    assert(rest.done());
    owed_ = bytes;
    if (const Interest wait = FERRY_TRY(try_send_outgoing()); wait != Interest::none) {
      return Step{.wait_for = wait};
    }
  }
  return Step{.bytes = std::exchange(owed_, 0)};
}

Result<void> TlsChannel::encrypt(IovecWindow& from) {
  std::unique_lock lock(mutex_);
  const auto begin = Clock::now();
  auto encrypted = engine_->encrypt(from);
  encrypting_.fetch_add(since(begin), std::memory_order_relaxed);
  // Until here the engine has kept them, so that both threads' records are in one order. Nothing
  // is lost where an earlier part could not be sent yet: see try_send_outgoing().
  engine_->take_outgoing(outgoing_);
  lock.unlock();
  if (!encrypted) return writing_failed(std::move(encrypted).error());
  return {};
}

Result<void> TlsChannel::send_outgoing() {
  const iovec piece = piece_of(std::span(outgoing_).subspan(sent_));
  auto written = inner_->write({&piece, 1});
  outgoing_.clear();
  sent_ = 0;
  if (!written) return writing_failed(std::move(written).error());
  return {};
}

/// What to wait for, or none when everything has been sent.
Result<Interest> TlsChannel::try_send_outgoing() {
  while (sent_ < outgoing_.size()) {
    const iovec piece = piece_of(std::span(outgoing_).subspan(sent_));
    const auto step = pollable_->try_write_some({&piece, 1});
    if (!step) return writing_failed(step.error());
    if (step->wait_for != Interest::none) return step->wait_for;
    sent_ += step->bytes;
  }
  outgoing_.clear();
  sent_ = 0;
  return Interest::none;
}

Result<void> TlsChannel::flush() {
  FERRY_TRY(check_writing());
  if (auto flushed = inner_->flush(); !flushed) return writing_failed(std::move(flushed).error());
  return {};
}

Result<void> TlsChannel::finish() {
  FERRY_TRY(check_writing());
  if (!outgoing_.empty()) FERRY_TRY(send_outgoing());  // what try_write_some() has left
  std::unique_lock lock(mutex_);
  auto said = engine_->say_goodbye();
  engine_->take_outgoing(outgoing_);
  lock.unlock();
  FERRY_TRY(send_outgoing());
  if (!said) return writing_failed(std::move(said).error());
  if (auto finished = inner_->finish(); !finished) {
    return writing_failed(std::move(finished).error());
  }
  return {};
}

void TlsChannel::cancel(Errc why) noexcept {
  cancelled_.give(why);
  inner_->cancel(why);
}

ChannelBinding::Proof TlsChannel::prove(std::span<const std::byte> secret,
                                        std::uint16_t index) const {
  return keyed_digest(secret, exported_, index);
}

bool TlsChannel::resumed() const {
  const std::scoped_lock lock(mutex_);
  return engine_->resumed();
}

std::uint64_t TlsChannel::keys_replaced_by_peer() const {
  const std::scoped_lock lock(mutex_);
  return engine_->keys_replaced_by_peer();
}

Result<void> TlsChannel::check_writing() const {
  if (write_failure_) return std::unexpected(*write_failure_);
  if (auto reason = cancelled_.error(write_act_)) return std::unexpected(std::move(*reason));
  return {};
}

std::unexpected<Error> TlsChannel::reading_failed(Error error) {
  read_failure_ = retold(std::move(error), inner_->info().peer, read_act_, cancelled_);
  return std::unexpected(*read_failure_);
}

std::unexpected<Error> TlsChannel::writing_failed(Error error) {
  if (!write_failure_) {
    write_failure_ = retold(std::move(error), inner_->info().peer, write_act_, cancelled_);
  }
  return std::unexpected(*write_failure_);
}

}  // namespace ferry
