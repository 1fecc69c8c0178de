#include "channels/tls_channel.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <utility>

#include "base/iovec_window.h"

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
    : info_(std::move(info)),
      inner_(std::move(inner), info_.peer),
      exported_(exported),
      engine_(std::move(engine)) {
  if (engine_->kernel_sends()) kernel_.emplace(inner_, engine_->records_per_key());
}

Facets TlsChannel::facets() noexcept {
  const Facets inner = inner_->facets();
  const bool wears = kernel_ || engine_->keeps_key();
  return {.placed_io = inner.placed_io,
          .placed_target = inner.placed_target,
          .pollable = inner_.pollable() == nullptr ? nullptr : static_cast<Pollable*>(this),
          .binding = this,
          .crypto_clock = this,
          .wear = wears ? static_cast<Wear*>(this) : nullptr};
}

Result<std::size_t> TlsChannel::read_some(std::span<const iovec> into) {
  for (;;) {
    if (const auto bytes = FERRY_TRY(decrypt(into))) return *bytes;
    const iovec piece = room();
    auto got = inner_->read_some({&piece, 1});
    if (!got) return inner_.reading_failed(std::move(got).error());
    FERRY_TRY(arrived(*got));
  }
}

Result<Pollable::Step> TlsChannel::try_read_some(std::span<const iovec> into) {
  for (;;) {
    if (const auto bytes = FERRY_TRY(decrypt(into))) return Step{.bytes = *bytes};
    const iovec piece = room();
    const auto step = inner_.pollable()->try_read_some({&piece, 1});
    if (!step) return inner_.reading_failed(step.error());
    if (step->wait_for != Interest::none) return *step;
    FERRY_TRY(arrived(step->bytes));
  }
}

/// Bytes, 0 at the peer's goodbye, or nothing where more must arrive first.
Result<std::optional<std::size_t>> TlsChannel::decrypt(std::span<const iovec> into) {
  assert(total_bytes(into) > 0);
  FERRY_TRY(inner_.check_reading());
  std::unique_lock lock(mutex_);
  const auto begin = Clock::now();
  auto plain = engine_->decrypt(into);
  decrypting_.fetch_add(since(begin), std::memory_order_relaxed);
  lock.unlock();
  if (!plain) return inner_.reading_failed(std::move(plain).error());
  if (plain->bytes > 0 || plain->finished) return plain->bytes;
  return std::nullopt;
}

iovec TlsChannel::room() {
  const std::scoped_lock lock(mutex_);
  return piece_of(engine_->room());
}

Result<void> TlsChannel::arrived(std::size_t bytes) {
  if (bytes == 0) {
    return inner_.reading_failed(
        {Errc::disconnected, 0, "the line ended without TLS's goodbye: it was cut", {}});
  }
  const std::scoped_lock lock(mutex_);
  engine_->arrived(bytes);
  return {};
}

Result<void> TlsChannel::write(std::span<const iovec> from, Loan) {
  FERRY_TRY(inner_.check_writing());
  if (!kernel_) return encrypt_and_send(from);
  if (auto written = kernel_->write(from); !written) {
    return inner_.writing_failed(std::move(written).error());
  }
  return {};
}

Result<void> TlsChannel::encrypt_and_send(std::span<const iovec> from) {
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
  FERRY_TRY(inner_.check_writing());
  if (kernel_) {
    auto step = kernel_->try_write_some(from);
    if (!step) return inner_.writing_failed(std::move(step).error());
    return *step;
  }
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
  if (!encrypted) return inner_.writing_failed(std::move(encrypted).error());
  return {};
}

Result<void> TlsChannel::send_outgoing() {
  const iovec piece = piece_of(std::span(outgoing_).subspan(sent_));
  auto written = inner_->write({&piece, 1});
  outgoing_.clear();
  sent_ = 0;
  if (!written) return inner_.writing_failed(std::move(written).error());
  return {};
}

/// What to wait for, or none when everything has been sent.
Result<Interest> TlsChannel::try_send_outgoing() {
  while (sent_ < outgoing_.size()) {
    const iovec piece = piece_of(std::span(outgoing_).subspan(sent_));
    const auto step = inner_.pollable()->try_write_some({&piece, 1});
    if (!step) return inner_.writing_failed(step.error());
    if (step->wait_for != Interest::none) return step->wait_for;
    sent_ += step->bytes;
  }
  outgoing_.clear();
  sent_ = 0;
  return Interest::none;
}

Result<void> TlsChannel::flush() {
  FERRY_TRY(inner_.check_writing());
  if (auto flushed = inner_->flush(); !flushed)
    return inner_.writing_failed(std::move(flushed).error());
  return {};
}

Result<void> TlsChannel::finish() {
  FERRY_TRY(inner_.check_writing());
  FERRY_TRY(say_goodbye());
  if (auto finished = inner_->finish(); !finished) {
    return inner_.writing_failed(std::move(finished).error());
  }
  return {};
}

Result<void> TlsChannel::say_goodbye() {
  if (kernel_) {
    if (auto said = kernel_->say_goodbye(); !said) {
      return inner_.writing_failed(std::move(said).error());
    }
    return {};
  }
  if (!outgoing_.empty()) FERRY_TRY(send_outgoing());  // what try_write_some() has left
  std::unique_lock lock(mutex_);
  auto said = engine_->say_goodbye();
  engine_->take_outgoing(outgoing_);
  lock.unlock();
  FERRY_TRY(send_outgoing());
  if (!said) return inner_.writing_failed(std::move(said).error());
  return {};
}

void TlsChannel::cancel(Errc why) noexcept { inner_.cancel(why); }

ChannelBinding::Proof TlsChannel::prove(std::span<const std::byte> secret,
                                        std::uint16_t index) const {
  return keyed_digest(secret, exported_, index);
}

bool TlsChannel::worn() const noexcept {
  if (kernel_) return kernel_->worn();
  const std::scoped_lock lock(mutex_);
  return engine_->worn();
}

bool TlsChannel::resumed() const {
  const std::scoped_lock lock(mutex_);
  return engine_->resumed();
}

std::uint64_t TlsChannel::keys_replaced_by_peer() const {
  const std::scoped_lock lock(mutex_);
  return engine_->keys_replaced_by_peer();
}

}  // namespace ferry
