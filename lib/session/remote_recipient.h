// A recipient behind channels: the source's end of a session.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "ferry/guest.h"
#include "ferry/runtime.h"
#include "multifd/page_sender.h"
#include "session/conversation.h"
#include "session/page_lines.h"
#include "session/precopy_gauge.h"
#include "session/progress_watch.h"
#include "session/recipient.h"
#include "wire/hello.h"

namespace ferry {

/// Speaks to a destination: frames on the control channel, pages on N lanes, or all of it on one
/// solo channel. Driven by one thread; made and destroyed there.
class RemoteRecipient final : public Recipient, private StateSink {
 public:
  /// `gauge` is what progress says of the rounds.
  RemoteRecipient(Runtime& runtime, const GuestMemory& memory, const SendOptions& options,
                  const PrecopyGauge& gauge, std::stop_token stop);
  ~RemoteRecipient() override;

  /// First of all, one of these: reach the peer, by a control channel or (Lines::one) by the only
  /// channel, or take a channel that is there already.
  Result<void> connect(Transport& transport, const Uri& to);
  Result<void> adopt(std::unique_ptr<Channel> solo);

  Result<void> layout(const Layout& layout) override;
  Result<void> begin_round(std::uint32_t round, Motion motion) override;
  Result<void> submit(const PageRun& run, Content content) override;
  Result<void> end_round(std::uint32_t round, DirtyBitmap& again) override;
  StateSink& state() override { return *this; }
  LineFigures line() const override;
  Result<void> prepare(std::vector<wire::Digest> digests) override;
  Result<void> check() const override;
  Result<void> commit(const OwnerToken& token) override;

  /// After commit(): finishes every channel.
  void end();
  /// After a failure: tells the peer, stops the lanes, and returns the reason that explains most.
  Error give_up(Error error);

  /// Adds what the lanes did.
  void add_to(Report& report) const;

 private:
  Result<void> begin_section(std::string_view name, std::uint32_t version) override;
  Result<void> append(std::span<const std::byte> piece) override;
  Result<void> end_section(std::uint64_t length, std::uint64_t checksum) override;

  Result<std::unique_ptr<Channel>> reach(Transport& transport, const Uri& to);
  Result<void> converse(std::unique_ptr<Channel> channel);
  Result<void> open_lanes();
  Result<bool> intercept(const wire::ControlFrame& frame);
  void copies_instead(const Error& why);
  void cut(Errc why);
  void watch_progress();
  void expect_ready();
  void bound_wait(std::string_view act);
  std::uint64_t peer_verified();
  void watch_state();
  template <class Send>
  Result<void> move_state(Send send);
  Result<void> append_on_lanes(std::span<const std::byte> piece);
  Result<void> end_state_round();
  std::uint64_t state_moved();
  wire::Heartbeat heartbeat() const;
  Progress progress(const wire::Heartbeat& peer) const;

  Runtime& runtime_;
  const GuestMemory& memory_;
  const SendOptions& options_;
  const PrecopyGauge& gauge_;
  const std::stop_token stop_;
  const Clock::time_point began_ = Clock::now();
  std::uint64_t suspect_units_ = 0;

  Transport* transport_ = nullptr;  // null on a solo channel
  Uri to_;
  wire::SessionId session_;
  std::optional<wire::Secret> secret_;  // of an encrypted session
  std::uint32_t features_ = 0;          // optional ones, that both sides know
  ChannelInfo info_;                    // of the control channel
  std::chrono::nanoseconds round_trip_{};

  std::unique_ptr<Conversation> conversation_;

  mutable std::mutex mutex_;
  std::optional<wire::LaneTimesFrame> receiver_;  // where its lanes' time went; guarded by mutex_
  std::optional<PageLines> lines_;                // none on a solo channel
  std::atomic<bool> warned_ = false;              // guards nothing else
  PageSender sender_;
  std::uint32_t round_ = 0;          // the last that was begun for pages
  bool state_round_ = false;         // the one behind it has begun, with device state
  std::uint32_t section_ = 0;        // number of the section that is under way, counted from 1
  std::uint64_t section_bytes_ = 0;  // of it, so far
  // Begun and ended writes of device state: odd while one is under way. The watch wants no more.
  std::atomic<std::uint64_t> state_frames_ = 0;
  std::uint64_t glances_ = 0;  // the loop's
  // Of a round, of device state, and of a guest that is paused; last: they use all of the above.
  std::optional<ProgressWatch> watch_;
  std::optional<Background> end_of_state_;
  std::optional<Background> patience_;
};

}  // namespace ferry
