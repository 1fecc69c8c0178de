// A channel made from a channel: TLS over any byte pipe.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "channels/inner_line.h"
#include "channels/kernel_tls.h"
#include "channels/tls_engine.h"
#include "ferry/channel.h"

namespace ferry {

/// TLS over the channel within, whose handshake is done (tls_handshake.h).
///
/// One reading and one writing thread share one TLS state. A mutex is held while that state
/// encrypts or decrypts in memory, and never during a read or a write of the channel within: so a
/// blocked writer does not keep the reader from its work. Only the writer sends. What the reader
/// makes TLS answer (to a peer that asks for a new key) goes out in front of the next write, and so
/// in the order in which it was encrypted. cancel() never touches TLS: it cancels the channel
/// within.
///
/// finish() says TLS's goodbye (close_notify) before the channel within finishes. A line that ends
/// without the peer's goodbye is Errc::disconnected, also where the channel within calls it a
/// finish: an end that anybody on the way could make is none.
///
/// Where the kernel makes the records of what is sent (KernelTls), the writer has nothing to do
/// with that state, and writes to the channel within.
///
/// Where no key can be replaced it wears: TLS 1.2, and the kernel's records.
///
/// It is Pollable where the channel within is. Pages that are placed are placed by the channel
/// within, and pass no cipher; what is written behind them does, and keeps that order.
class TlsChannel final : public Channel,
                         private Pollable,
                         private ChannelBinding,
                         private CryptoClock,
                         private Wear {
 public:
  /// `engine` has shaken hands over `inner`. `info` is what info() says.
  static Result<std::unique_ptr<TlsChannel>> create(std::unique_ptr<Channel> inner,
                                                    std::unique_ptr<TlsEngine> engine,
                                                    ChannelInfo info);

  Result<std::size_t> read_some(std::span<const iovec> into) override;
  Result<void> write(std::span<const iovec> from, Loan loan = Loan::none) override;
  Result<void> flush() override;
  Result<void> finish() override;
  void cancel(Errc why = Errc::cancelled) noexcept override;
  const ChannelInfo& info() const noexcept override { return info_; }
  Facets facets() noexcept override;

  /// Did its handshake resume an earlier one? Thread-safe.
  bool resumed() const;
  /// How often the peer has replaced its key. Thread-safe.
  std::uint64_t keys_replaced_by_peer() const;

 private:
  TlsChannel(std::unique_ptr<Channel> inner, std::unique_ptr<TlsEngine> engine, ChannelInfo info,
             const TlsEngine::Exported& exported);

  Result<Step> try_read_some(std::span<const iovec> into) override;
  Result<Step> try_write_some(std::span<const iovec> from) override;
  int fd() const noexcept override { return inner_.pollable()->fd(); }
  Proof prove(std::span<const std::byte> secret, std::uint16_t index) const override;
  std::chrono::nanoseconds encrypting() const noexcept override {
    return std::chrono::nanoseconds(encrypting_.load(std::memory_order_relaxed));
  }
  std::chrono::nanoseconds decrypting() const noexcept override {
    return std::chrono::nanoseconds(decrypting_.load(std::memory_order_relaxed));
  }
  bool worn() const noexcept override;

  Result<std::optional<std::size_t>> decrypt(std::span<const iovec> into);
  iovec room();
  Result<void> arrived(std::size_t bytes);
  Result<void> encrypt_and_send(std::span<const iovec> from);
  Result<void> encrypt(IovecWindow& from);
  Result<void> say_goodbye();
  Result<void> send_outgoing();
  Result<Interest> try_send_outgoing();

  const ChannelInfo info_;
  InnerLine inner_;
  std::optional<KernelTls> kernel_;  // the writing thread's, where the kernel makes the records
  const TlsEngine::Exported exported_;
  // In nanoseconds; figures for a report, which publish nothing but themselves.
  std::atomic<std::int64_t> encrypting_ = 0;
  std::atomic<std::int64_t> decrypting_ = 0;

  mutable std::mutex mutex_;  // guards the engine, but for the room that the reader fills
  const std::unique_ptr<TlsEngine> engine_;

  // The writing thread's:
  std::vector<std::byte> outgoing_;  // encrypted, on its way
  std::size_t sent_ = 0;             // of outgoing_
  std::size_t owed_ = 0;  // plain bytes within outgoing_ that try_write_some() has not owned up to
};

}  // namespace ferry
