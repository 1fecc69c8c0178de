#include "session/remote_recipient.h"

#include <fmt/format.h>

#include "session/convergence.h"
#include "session/greeting.h"
#include "session/limit.h"

namespace ferry {

RemoteRecipient::RemoteRecipient(Runtime& runtime, const GuestMemory& memory,
                                 const SendOptions& options, const PrecopyGauge& gauge,
                                 std::stop_token stop)
    : runtime_(runtime),
      memory_(memory),
      options_(options),
      gauge_(gauge),
      stop_(std::move(stop)),
      session_(fresh_session_id()),
      sender_(memory, {.zero_copy = options.zero_copy, .bandwidth = options.bandwidth},
              {.failed = [this](Error error) { conversation_->fail(std::move(error)); },
               .copies_instead = [this](const Error& why) { copies_instead(why); },
               .replace = [this](std::uint16_t lane) -> Result<Link*> {
                 return lines_ ? lines_->replace(lane) : nullptr;
               }}) {}

RemoteRecipient::~RemoteRecipient() = default;

Result<void> RemoteRecipient::connect(Transport& transport, const Uri& to) {
  if (transport.lines() == Lines::one) return adopt(FERRY_TRY(reach(transport, to)));
  transport_ = &transport;
  to_ = to;
  const wire::Hello hello{.session = session_,
                          .role = wire::Role::control,
                          .optional_features = wire::k_known_optional_features};
  const auto deadline = Clock::now() + options_.timeout;
  Greeted greeted = FERRY_TRY(
      block_on(runtime_.loop(), dial(runtime_.loop(), transport, to, hello, {}, deadline), stop_));
  secret_ = greeted.secret;
  features_ = greeted.features;
  return converse(std::move(greeted.channel));
}

Result<std::unique_ptr<Channel>> RemoteRecipient::reach(Transport& transport, const Uri& to) {
  EventLoop& loop = runtime_.loop();
  const auto deadline = Clock::now() + options_.timeout;
  return block_on(loop, loop.within(deadline, transport.connect(loop, to), "connect " + to.shown()),
                  stop_);
}

Result<void> RemoteRecipient::adopt(std::unique_ptr<Channel> solo) {
  const wire::Hello hello{.session = session_,
                          .role = wire::Role::solo,
                          .optional_features = wire::k_known_optional_features};
  const auto deadline = Clock::now() + options_.timeout;
  EventLoop& loop = runtime_.loop();
  const wire::HelloAck ack = FERRY_TRY(block_on(
      loop, loop.within(deadline, introduce(loop, *solo, hello), "open a session"), stop_));
  features_ = ack.optional_features & hello.optional_features;
  return converse(std::move(solo));
}

Result<void> RemoteRecipient::converse(std::unique_ptr<Channel> channel) {
  info_ = channel->info();
  Conversation::Role role{
      .peer = "the receiver",
      .intercept = [this](const wire::ControlFrame& frame) { return intercept(frame); },
      .packet = {},
      .heartbeat = [this] { return heartbeat(); },
      .progress = [this](const wire::Heartbeat& peer) { return progress(peer); },
      .cut = [this](Errc why) { cut(why); },
  };
  conversation_ = std::make_unique<Conversation>(
      runtime_.loop(), std::move(channel), std::move(role), options_.timeout, options_.observer);
  if (transport_ != nullptr) {
    lines_.emplace(runtime_.loop(), *conversation_,
                   PageLines::Way{.transport = *transport_,
                                  .to = to_,
                                  .session = session_,
                                  .secret = secret_,
                                  .features = features_,
                                  .timeout = options_.timeout});
  }
  return conversation_->start(stop_);
}

Result<void> RemoteRecipient::layout(const Layout& layout) {
  FERRY_TRY(conversation_->send(wire::LayoutFrame{layout}));
  FERRY_TRY(conversation_->expect<wire::LayoutAck>());
  if (options_.observer.connected) options_.observer.connected(info_);
  if (transport_ == nullptr) {
    return sender_.add_lane(conversation_->link());
  }
  return open_lanes();
}

Result<void> RemoteRecipient::open_lanes() {
  const auto count = static_cast<std::uint16_t>(options_.channels);
  const auto asked_at = Clock::now();
  FERRY_TRY(conversation_->send(wire::AddChannels{.first = 0, .count = count}));
  FERRY_TRY(conversation_->expect<wire::ChannelsAck>());
  round_trip_ = Clock::now() - asked_at;  // the receiver has hardly anything to do for it

  FERRY_TRY(lines_->open(count));
  // Memory is pinned here, before a round begins that is watched for pages that stand still.
  for (std::uint16_t lane = 0; lane < count; ++lane) FERRY_TRY(sender_.add_lane(lines_->of(lane)));
  return {};
}

Result<void> RemoteRecipient::begin_round(std::uint32_t round, Motion motion) {
  // A round that began with device state goes on with what saving has made dirty.
  if (!state_round_) sender_.begin_round(round, motion);
  round_ = round;
  watch_progress();
  if (motion == Motion::still) expect_ready();
  return {};
}

void RemoteRecipient::watch_progress() {
  watch_.emplace(
      runtime_.loop(), options_.timeout,
      [this] {
        const PageSender::Totals totals = sender_.totals();
        return totals.wire_bytes + totals.state_pieces + peer_verified();
      },
      [this] {
        conversation_->fail({Errc::timed_out,
                             0,
                             fmt::format("send pages to {}: none has gone or arrived for a while, "
                                         "though the receiver is alive",
                                         info_.peer),
                             {}});
      });
}

Result<void> RemoteRecipient::submit(const PageRun& run, Content content) {
  if (sender_.submit(run, content)) return {};
  return std::unexpected(conversation_->failure());
}

Result<void> RemoteRecipient::end_round(std::uint32_t round, DirtyBitmap& again) {
  if (!sender_.end_round()) return std::unexpected(conversation_->failure());
  while (true) {
    const wire::ControlFrame frame = FERRY_TRY(conversation_->next());
    if (const auto* suspects = std::get_if<wire::Suspects>(&frame)) {
      for (const PageRun& run : suspects->runs) {
        (void)FERRY_TRY(memory_.check(run));
        again.mark(run);
        suspect_units_ += units_in(run.length);
      }
      continue;
    }
    const auto* ack = std::get_if<wire::RoundAck>(&frame);
    if (ack != nullptr && ack->round == round) {
      watch_.reset();
      sender_.round_acknowledged();
      state_round_ = false;
      return {};
    }
    return fail(Errc::protocol, fmt::format("end round {}: the receiver answered '{}'", round,
                                            wire::name_of(frame)));
  }
}

LineFigures RemoteRecipient::line() const {
  return {.wire_bytes = sender_.totals().wire_bytes, .round_trip = round_trip_};
}

Result<void> RemoteRecipient::begin_section(std::string_view name, std::uint32_t version) {
  if ((features_ & wire::k_device_state) == 0) {
    return fail(Errc::refused,
                fmt::format("send device state to {}: the receiver is of a version that takes none",
                            info_.peer));
  }
  if (!end_of_state_) watch_state();
  expect_ready();
  ++section_;
  section_bytes_ = 0;
  return move_state([&] {
    return conversation_->send(wire::StateSectionFrame{std::string(name), version});
  });
}

namespace {

// Looked at so often, while device state goes.
constexpr std::chrono::milliseconds k_glance{300};

/// The caller may be blocked in a write to the control channel when the session fails: it must come
/// back to say its last words, and after a while does without them.
Task<void> cancel_after_failure(EventLoop& loop, Conversation& conversation) {
  while (conversation.whole()) co_await loop.sleep_until(Clock::now() + k_glance);
  co_await loop.sleep_until(Clock::now() + k_glance);
  conversation.link().cancel(Errc::timed_out);
}

/// A receiver that has the guest, and asks for pages once more, is not to hold a lane for ever.
Task<void> cut_later(EventLoop& loop, PageLines& lines) {
  co_await loop.sleep_until(Clock::now() + Conversation::k_last_words);
  lines.cut(Errc::timed_out);
}

Task<void> fail_at(EventLoop& loop, Conversation& conversation, Clock::time_point deadline,
                   Error error) {
  co_await loop.sleep_until(deadline);
  conversation.fail(std::move(error));
}

}  // namespace

/// With the first thing for which a paused guest waits. Heartbeats prove that the receiver lives,
/// and not that it will ever be ready.
void RemoteRecipient::expect_ready() {
  if (!patience_) bound_wait("wait for READY");
}

void RemoteRecipient::bound_wait(std::string_view act) {
  patience_.reset();
  if (options_.ready_timeout.count() == 0) return;
  Error late{
      Errc::timed_out,
      0,
      fmt::format("{} from {}: it did not come within {:.1f} s, though the receiver is alive", act,
                  info_.peer, std::chrono::duration<double>(options_.ready_timeout).count()),
      {}};
  patience_.emplace(runtime_.loop(),
                    fail_at(runtime_.loop(), *conversation_, Clock::now() + options_.ready_timeout,
                            std::move(late)));
}

/// A receiver that is alive and does not read would hold a guest that is paused. A guest that takes
/// its time to save holds nobody but itself.
void RemoteRecipient::watch_state() {
  end_of_state_.emplace(runtime_.loop(), cancel_after_failure(runtime_.loop(), *conversation_));
  watch_.emplace(
      runtime_.loop(), options_.timeout, [this] { return state_moved(); },
      [this] {
        conversation_->fail({Errc::timed_out,
                             0,
                             fmt::format("send device state to {}: none was taken for a while, "
                                         "though the receiver is alive",
                                         info_.peer),
                             {}});
      });
}

template <class Send>
Result<void> RemoteRecipient::move_state(Send send) {
  state_frames_.fetch_add(1, std::memory_order_relaxed);  // odd: one is being written
  auto sent = send();
  state_frames_.fetch_add(1, std::memory_order_relaxed);
  return sent;
}

/// Changes whenever a piece has gone, and as long as there is none to go.
std::uint64_t RemoteRecipient::state_moved() {
  const std::uint64_t frames = state_frames_.load(std::memory_order_relaxed);
  return frames % 2 == 1 ? frames : frames + 2 * ++glances_;
}

/// The receiver keeps it, and where it is slow to do so this blocks. What is little goes on the
/// control channel: all of it is there when the pages are, without a round for it.
Result<void> RemoteRecipient::append(std::span<const std::byte> piece) {
  constexpr std::uint64_t k_little = 1024 * 1024;  // of a section, whose length nobody knows yet
  const bool on_lanes = (features_ & wire::k_state_on_lanes) != 0 && section_bytes_ >= k_little &&
                        section_ <= wire::k_max_packed_sections;
  auto sent = move_state([&]() -> Result<void> {
    if (on_lanes) return append_on_lanes(piece);
    return conversation_->send(wire::StatePiece{{piece.begin(), piece.end()}});
  });
  section_bytes_ += piece.size();
  return sent;
}

/// In the next round, which may become one of pages too.
Result<void> RemoteRecipient::append_on_lanes(std::span<const std::byte> piece) {
  if (!std::exchange(state_round_, true)) sender_.begin_round(round_ + 1, Motion::still);
  if (sender_.submit_state(section_ - 1, section_bytes_, piece)) return {};
  return std::unexpected(conversation_->failure());
}

/// Where saving made nothing dirty.
Result<void> RemoteRecipient::end_state_round() {
  if (!state_round_) return {};
  watch_progress();
  DirtyBitmap again(memory_.layout());
  FERRY_TRY(end_round(round_ + 1, again));
  if (again.none()) return {};
  return fail(Errc::protocol, "the receiver suspects memory in a round of device state");
}

Result<void> RemoteRecipient::end_section(std::uint64_t length, std::uint64_t checksum) {
  return move_state(
      [&] { return conversation_->send(wire::StateEnd{.length = length, .checksum = checksum}); });
}

Result<void> RemoteRecipient::prepare(std::vector<wire::Digest> digests) {
  FERRY_TRY(end_state_round());
  watch_.reset();
  expect_ready();
  // A receiver that does not read PREPARE must not hold the guest against a stop.
  end_of_state_.emplace(runtime_.loop(), cancel_after_failure(runtime_.loop(), *conversation_));
  const wire::Transcript ours = sender_.transcript();
  FERRY_TRY(conversation_->send(wire::Prepare{.transcript = ours, .digests = std::move(digests)}));
  const auto ready = FERRY_TRY(conversation_->expect<wire::Ready>());

  std::uint64_t units = 0;
  for (const MemoryRegion& region : memory_.regions()) units += units_in(region.length);
  if (ready.transcript != ours || ready.units_received != units || ready.units_suspect != 0) {
    return fail(Errc::integrity,
                fmt::format("compare transcripts: the receiver holds {} of {} pages, {} of them "
                            "suspect, and its account of the channels {}",
                            ready.units_received, units, ready.units_suspect,
                            ready.transcript == ours ? "is ours" : "differs from ours"));
  }
  patience_.reset();
  return conversation_->pass_point_of_no_return();
}

Result<void> RemoteRecipient::check() const { return conversation_->whole(); }

Result<void> RemoteRecipient::commit(const OwnerToken& token) {
  bound_wait("wait for STARTED");
  // Written whatever is heard meanwhile: a commit that was kept back would leave a guest that
  // nobody has at an owner that nobody knows.
  FERRY_TRY(
      conversation_->link().send(wire::Commit{.transcript = sender_.transcript(), .token = token}));
  const auto started = FERRY_TRY(conversation_->expect<wire::Started>());
  if (started.token != token) {
    return fail(Errc::protocol, "commit: the receiver started a guest with another token");
  }
  return {};
}

void RemoteRecipient::end() {
  patience_.reset();
  end_of_state_.reset();
  sender_.close();
  if (lines_) {
    const Background bound(runtime_.loop(), cut_later(runtime_.loop(), *lines_));
    lines_->finish();
  }
  conversation_->end();
  if (lines_) lines_->cut(Errc::cancelled);
}

Error RemoteRecipient::give_up(Error error) {
  if (!conversation_) return error;  // nobody was reached
  return conversation_->give_up(std::move(error));
}

Result<bool> RemoteRecipient::intercept(const wire::ControlFrame& frame) {
  if (const auto* times = std::get_if<wire::LaneTimesFrame>(&frame)) {
    const std::scoped_lock lock(mutex_);
    receiver_ = *times;
    return true;
  }
  if (const auto* kept = std::get_if<wire::StateAck>(&frame)) {
    FERRY_TRY(sender_.state_acknowledged(*kept));
    return true;
  }
  if (const auto* may_come = std::get_if<wire::ChannelsAck>(&frame)) {
    return lines_ && lines_->answered(*may_come);
  }
  const auto* nak = std::get_if<wire::Nak>(&frame);
  if (nak == nullptr) return false;
  FERRY_TRY(sender_.resend(*nak));
  return true;
}

/// It is the same on all lanes, and people want to hear it once.
void RemoteRecipient::copies_instead(const Error& why) {
  if (warned_.exchange(true, std::memory_order_relaxed)) return;
  conversation_->warn("pages are copied before they are placed: " + why.text());
}

void RemoteRecipient::cut(Errc why) {
  sender_.close();
  if (lines_) lines_->cut(why);
}

/// The peer's word, and no more than there is: what only grows and has an end cannot pretend to
/// move for ever.
std::uint64_t RemoteRecipient::peer_verified() {
  return std::min(conversation_->peer_verified(), memory_.total_bytes());
}

wire::Heartbeat RemoteRecipient::heartbeat() const {
  return {.lane_wait_micros = sender_.totals().wait_micros, .phase = wire::Heartbeat::Phase::pages};
}

Progress RemoteRecipient::progress(const wire::Heartbeat& peer) const {
  Progress progress{.bytes_total = memory_.total_bytes(),
                    .bytes_done = std::min(peer.bytes_verified, memory_.total_bytes()),
                    .wire_bytes = sender_.totals().wire_bytes,
                    .elapsed = Clock::now() - began_,
                    .precopy = gauge_.now()};
  // Nothing is known yet of what the guest writes; how the first round gets on is.
  if (progress.precopy && progress.precopy->round == 0 && progress.bytes_done > 0) {
    progress.precopy->eta = time_for(progress.bytes_total - progress.bytes_done,
                                     measured_rate(progress.bytes_done, progress.elapsed));
  }
  return progress;
}

void RemoteRecipient::add_to(Report& report) const {
  const PageSender::Totals totals = sender_.totals();
  report.wire_bytes = totals.wire_bytes;
  report.placed_bytes = totals.placed_bytes;
  report.packets = totals.packets;
  report.zero_bytes = totals.zero_bytes;
  report.resent = totals.resent_units;
  report.suspect = suspect_units_;
  report.zero_copy_fallbacks = totals.zero_copy_fallbacks;
  report.channels = transport_ == nullptr ? 1 : options_.channels;
  report.elapsed = Clock::now() - began_;
  report.peer = info_.peer;
  report.cipher = info_.cipher;
  report.kernel_tls = info_.kernel_tls;
  report.lanes = sender_.lane_reports();
  for (const LaneReport& lane : report.lanes) report.replacements += lane.replacements;
  const std::scoped_lock lock(mutex_);
  report.limit = what_limited(report.lanes, receiver_);
}

}  // namespace ferry
