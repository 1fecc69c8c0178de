// A channel made from a channel: WebSocket over any byte pipe.
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
#include "channels/websocket_engine.h"
#include "ferry/channel.h"

namespace ferry {

/// WebSocket over the channel within, where the upgrade is done (websocket_upgrade.h).
///
/// One reading and one writing thread share the engine. A mutex is held while it works in memory,
/// and never during a read or a write of the channel within. What the reader makes the engine
/// answer (a pong, a Close) it sends itself where nobody writes, and never waits for the line with
/// it; else the writer sends it between two messages. cancel() cancels the channel within.
///
/// finish() sends the empty message that says so. The line within, which a proxy would cut in both
/// directions where one ends, is finished when both have, behind a Close. A line that ends before
/// is Errc::disconnected.
///
/// A reader that has waited for a while sends a ping: proxies cut lines on which nothing passes.
/// It does so where the channel within is Pollable; then this one is, too.
class WebsocketChannel final : public Channel, private Pollable {
 public:
  /// `engine` has upgraded `inner`.
  WebsocketChannel(std::unique_ptr<Channel> inner, std::unique_ptr<WebsocketEngine> engine,
                   ChannelInfo info, std::chrono::milliseconds ping_after);
  ~WebsocketChannel() override;

  Result<std::size_t> read_some(std::span<const iovec> into) override;
  Result<void> write(std::span<const iovec> from, Loan loan = Loan::none) override;
  Result<void> flush() override;
  Result<void> finish() override;
  void cancel(Errc why = Errc::cancelled) noexcept override;
  const ChannelInfo& info() const noexcept override { return info_; }
  Facets facets() noexcept override;

 private:
  Result<Step> try_read_some(std::span<const iovec> into) override;
  Result<Step> try_write_some(std::span<const iovec> from) override;
  int fd() const noexcept override { return inner_.pollable()->fd(); }

  Result<std::optional<std::size_t>> decode(std::span<const iovec> into,
                                            WebsocketEngine::Target target);
  std::span<const iovec> room();
  Result<void> fill();
  Result<void> arrived(std::size_t bytes);
  Result<void> fill_all(std::span<const iovec> pieces);
  bool wait_for_bytes(Interest interest);
  void ping();
  Result<void> encode(IovecWindow& from);
  Result<void> send_outgoing();
  Result<Interest> try_send_outgoing();
  void send_answers();
  Result<Interest> try_send(std::unique_lock<std::mutex>& line);
  bool gather();
  bool more_to_send();
  bool answers_are_ours() const;
  bool answers_wait();
  void finish_inner();

  const ChannelInfo info_;
  InnerLine inner_;
  BulkRead* const bulk_;  // of inner_, or null
  const std::chrono::milliseconds ping_after_;

  mutable std::mutex mutex_;  // guards the engine, but for the room that the reader fills; and:
  const std::unique_ptr<WebsocketEngine> engine_;
  bool writing_ = false;  // a writer is at it, and will send all that is outgoing
  bool we_finished_ = false;
  bool peer_finished_ = false;

  std::mutex sending_;               // held by whoever writes to the channel within; guards:
  std::vector<std::byte> outgoing_;  // taken out of the engine, on its way
  std::size_t sent_ = 0;             // of outgoing_

  // The writing thread's:
  std::size_t owed_ = 0;  // bytes within outgoing_ that try_write_some() has not owned up to
  bool inner_finished_ = false;
};

}  // namespace ferry
