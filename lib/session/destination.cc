#include "session/destination.h"

#include <fmt/format.h>

#include "base/escape.h"
#include "memory/region_io.h"
#include "session/greeting.h"

namespace ferry {
namespace {

// How long a sender that is refused on the only channel there is may take to read why.
constexpr std::chrono::seconds k_refusal_time{1};

wire::HelloAck answer_on_one_channel(const Result<wire::Hello>& hello) {
  if (!hello) return refusal(hello.error());
  const wire::HelloAck ack = judge(*hello);
  if (ack.verdict != wire::HelloAck::Verdict::accepted || hello->role == wire::Role::solo) {
    return ack;
  }
  return refusal(*hello, wire::HelloAck::Verdict::unannounced,
                 "here is one channel only: control and pages must share it");
}

/// Where the listener can give but one.
Task<std::unique_ptr<Channel>> only_channel(std::unique_ptr<Listener> listener) {
  std::unique_ptr<Channel> channel = co_await listener->accept();
  co_return std::move(channel);
}

}  // namespace

Destination::Destination(Runtime& runtime, DestinationGuest& guest, const ReceiveOptions& options,
                         std::stop_token stop)
    : runtime_(runtime),
      guest_(guest),
      options_(options),
      stop_(std::move(stop)),
      arrivals_(1),
      device_state_(options.max_state_bytes, options.state_folder) {}

Destination::~Destination() {
  rendezvous_.reset();  // nobody brings channels any more
  std::shared_ptr<PageReceiver> pages;
  {
    const std::scoped_lock lock(mutex_);
    pages = std::move(pages_);
  }
  if (!pages) return;
  // A lane that is cancelled says so, and that comes round to cut(): it must find nothing, rather
  // than a reference to what is being destroyed. And no lane may hold the last reference, because a
  // thread cannot wait for its own end.
  pages->cancel(Errc::cancelled);
  pages->join();
}

Result<void> Destination::listen(Transport& transport, const Uri& at) {
  EventLoop& loop = runtime_.loop();
  const auto deadline = Clock::now() + options_.timeout;
  auto listener = FERRY_TRY(block_on(
      loop, loop.within(deadline, transport.listen(loop, at), "listen on " + at.shown()), stop_));

  if (listener->lines() == Lines::one) {
    return adopt(FERRY_TRY(block_on(loop, only_channel(std::move(listener)), stop_)));
  }

  rendezvous_ = std::make_unique<Rendezvous>(
      loop, std::move(listener),
      [this](wire::Hello hello, std::unique_ptr<Channel> channel) {
        page_channel(hello, std::move(channel));
      },
      [this](Error error) {
        door_error_.set(std::move(error));
        arrivals_.close();
      });
  if (options_.observer.listening) {
    options_.observer.listening(rendezvous_->local(), rendezvous_->reach());
  }

  const std::stop_callback on_stop(stop_, [this] { arrivals_.close(); });
  auto first = arrivals_.pop();
  if (!first) {
    return std::unexpected(door_error_.get().value_or(Error{Errc::cancelled, 0, "cancelled", {}}));
  }
  solo_ = first->hello.role == wire::Role::solo;
  return converse(std::move(first->channel));
}

Result<void> Destination::adopt(std::unique_ptr<Channel> solo) {
  solo_ = true;
  EventLoop& loop = runtime_.loop();
  const auto deadline = Clock::now() + options_.timeout;
  const auto hello =
      block_on(loop, loop.within(deadline, read_hello(loop, *solo), "wait for a Hello"), stop_);
  const wire::HelloAck ack = answer_on_one_channel(hello);
  if (ack.verdict != wire::HelloAck::Verdict::accepted) {
    (void)block_on(
        loop, loop.within(Clock::now() + k_refusal_time, turn_away(loop, *solo, ack), "refuse"),
        stop_);
    if (!hello) return std::unexpected(hello.error());
    return fail(Errc::refused, "refuse the sender: " + ack.reason);
  }
  FERRY_TRY(block_on(loop, loop.within(deadline, answer_hello(loop, *solo, ack), "answer a Hello"),
                     stop_));
  return converse(std::move(solo));
}

Result<void> Destination::converse(std::unique_ptr<Channel> channel) {
  began_ = Clock::now();
  info_ = channel->info();
  if (options_.observer.connected) options_.observer.connected(info_);
  Conversation::Role role{
      .peer = "the sender",
      .intercept = [this](const wire::ControlFrame& frame) { return intercept(frame); },
      .packet = {},
      .heartbeat =
          [this] {
            return wire::Heartbeat{.bytes_verified = bytes_verified(),
                                   .phase = wire::Heartbeat::Phase::pages};
          },
      .progress =
          [this](const wire::Heartbeat&) {
            const auto pages = this->pages();
            return Progress{.bytes_total = pages ? pages->total_bytes() : 0,
                            .bytes_done = bytes_verified(),
                            .wire_bytes = pages ? pages->totals().wire_bytes : 0,
                            .elapsed = Clock::now() - began_};
          },
      .cut = [this](Errc why) { cut(why); },
  };
  if (solo_) {
    role.packet = [this](std::span<const std::byte> header, Link& link) {
      return take_packet(header, link);
    };
  }
  conversation_ = std::make_unique<Conversation>(
      runtime_.loop(), std::move(channel), std::move(role), options_.timeout, options_.observer);
  auto started = conversation_->start(stop_);
  if (!started) return std::unexpected(conversation_->give_up(std::move(started).error()));
  return {};
}

Result<void> Destination::run() {
  auto done = receive();
  if (done) {
    conversation_->end();
    return {};
  }
  (void)enter(DestinationEvent::failed);
  if (pages_) pages_->withdraw();
  if (rendezvous_) rendezvous_->admission().end();
  return std::unexpected(conversation_->give_up(std::move(done).error()));
}

Result<void> Destination::receive() {
  while (state_ != DestinationState::running) {
    const wire::ControlFrame frame = FERRY_TRY(conversation_->next());
    FERRY_TRY(std::visit([this](const auto& kind) { return on(kind); }, frame));
  }
  return {};
}

Result<void> Destination::on(const wire::LayoutFrame& frame) {
  FERRY_TRY(enter(DestinationEvent::layout));
  memory_ = FERRY_TRY(map_memory(frame.layout));
  if (memory_.layout() != frame.layout) {
    return fail(Errc::guest, "map memory: it is not what the sender's layout asks for");
  }
  Link& link = conversation_->link();
  // For all lanes, and before there is one: the source, which watches its rounds for pages that
  // stand still, begins none until it has the answer.
  if (link.is_target()) FERRY_TRY(link.pin(memory_, over_.get_token()));
  if (solo_) {
    if (link.is_target()) FERRY_TRY(link.admit(memory_));
    receive_pages(1);
  }
  return conversation_->send(wire::LayoutAck{});
}

/// All channels of a session are of one transport: what the control channel can do, the lanes can.
Result<GuestMemory> Destination::map_memory(const Layout& wanted) {
  if (!conversation_->link().is_target()) return guest_.map_memory(wanted);
  GuestMemory memory = FERRY_TRY(guest_.map_placed_memory(wanted));
  for (const MemoryRegion& region : memory.regions()) {
    if (region.host != nullptr || region.length == 0) continue;
    return fail(Errc::unsupported,
                fmt::format("map memory: '{}' is not mapped, and pages cannot be placed in it",
                            region.name));
  }
  return memory;
}

Result<void> Destination::on(const wire::AddChannels& frame) {
  if (solo_ || state_ != DestinationState::receiving || lanes_ != 0 || frame.first != 0) {
    return fail(Errc::protocol, "add channels: not now");
  }
  receive_pages(frame.count);
  FERRY_TRY(rendezvous_->admission().announce(frame.first, frame.count));
  return conversation_->send(wire::ChannelsAck{.first = frame.first, .count = frame.count});
}

Result<void> Destination::on(const wire::ReplaceChannel& frame) {
  if (solo_ || state_ != DestinationState::receiving || lanes_ == 0) {
    return fail(Errc::protocol, "replace channel: not now");
  }
  FERRY_TRY(pages_->expect_another(frame.lane));
  FERRY_TRY(rendezvous_->admission().reopen(frame.lane));
  return conversation_->send(wire::ChannelsAck{.first = frame.lane, .count = 1});
}

void Destination::receive_pages(unsigned lanes) {
  auto pages = std::make_shared<PageReceiver>(
      memory_, lanes, conversation_->link(),
      [this](Error error) { conversation_->fail(std::move(error)); },
      [this](std::uint32_t section, std::uint64_t offset, std::span<const std::byte> piece) {
        return device_state_.put(section, offset, piece);
      });
  const std::scoped_lock lock(mutex_);
  lanes_ = lanes;
  pages_ = std::move(pages);
}

Result<void> Destination::on(const wire::Prepare& frame) {
  if (state_ != DestinationState::receiving || !pages_ || pages_->totals().rounds == 0) {
    return fail(Errc::protocol, "prepare: no round has ended yet");
  }
  FERRY_TRY(pages_->freeze());
  pages_->withdraw();  // what is verified, loaded and run from here on, no peer can write to
  const wire::Transcript ours = pages_->transcript();
  if (frame.transcript != ours || !pages_->complete()) {
    return fail(
        Errc::integrity,
        fmt::format("compare transcripts: {} units of memory are here, {} of them suspect, and "
                    "the sender's account of the channels {}",
                    pages_->units_received(), pages_->units_suspect(),
                    frame.transcript == ours ? "is ours" : "differs from ours"));
  }
  FERRY_TRY(check_digests(frame.digests));
  FERRY_TRY(load_state());
  FERRY_TRY(guest_.prepare());
  FERRY_TRY(enter(DestinationEvent::prepared));
  FERRY_TRY(conversation_->send(lane_times()));
  return conversation_->send(wire::Ready{.transcript = ours,
                                         .units_received = pages_->units_received(),
                                         .units_suspect = pages_->units_suspect()});
}

/// Device state is kept where it is read: the conducting thread has other things to do, and a frame
/// that waits for it would hold up those behind it. A PREPARE goes on to it, and with it the spool.
Result<bool> Destination::intercept(const wire::ControlFrame& frame) {
  if (const auto* section = std::get_if<wire::StateSectionFrame>(&frame)) {
    FERRY_TRY(device_state_.begin_section(section->name, section->version));
  } else if (const auto* piece = std::get_if<wire::StatePiece>(&frame)) {
    FERRY_TRY(device_state_.append(piece->bytes));
  } else if (const auto* end = std::get_if<wire::StateEnd>(&frame)) {
    FERRY_TRY(device_state_.end_section(end->length, end->checksum));
  } else {
    if (std::holds_alternative<wire::Prepare>(frame)) FERRY_TRY(device_state_.close());
    return false;
  }
  return true;
}

namespace {

/// Sections of a spool, as long as the session is whole: loading gigabytes is to end with it.
class WhileWhole final : public StateOrigin {
 public:
  WhileWhole(StateOrigin& inner, Conversation& conversation)
      : inner_(inner), conversation_(conversation) {}
  Result<std::optional<StateSection>> next_section() override {
    FERRY_TRY(conversation_.whole());
    return inner_.next_section();
  }
  Result<std::span<const std::byte>> next_piece() override {
    FERRY_TRY(conversation_.whole());
    return inner_.next_piece();
  }

 private:
  StateOrigin& inner_;
  Conversation& conversation_;
};

}  // namespace

Result<void> Destination::load_state() {
  WhileWhole origin(device_state_, *conversation_);
  StateReader in(origin);
  FERRY_TRY(guest_.load_state(in));
  const auto left = FERRY_TRY(in.next());
  if (!left) return {};
  return fail(Errc::guest, fmt::format("load device state {}: the guest did not read it",
                                       in_quotes(left->name)));
}

wire::LaneTimesFrame Destination::lane_times() const {
  const auto micros = [](std::chrono::nanoseconds time) {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(time).count());
  };
  const LaneTimes times = pages_->times();
  return {.waiting = micros(times.idle + times.socket),
          .copying = micros(times.copy),
          .decrypting = micros(times.encrypt),
          .checking = micros(times.checksum),
          .placing = micros(times.place),
          .faults = pages_->page_faults()};
}

Result<void> Destination::check_digests(const std::vector<wire::Digest>& digests) {
  if (digests.empty()) return {};
  if (digests.size() != memory_.regions().size()) {
    return fail(Errc::protocol, "prepare: the number of digests is not that of the regions");
  }
  for (const MemoryRegion& region : memory_.regions()) {
    if (FERRY_TRY(digest_of(region, stop_)) != digests[region.id]) {
      return fail(Errc::integrity,
                  fmt::format("verify '{}': its digest differs from the sender's", region.name));
    }
  }
  verified_ = Verify::full;
  return {};
}

Result<void> Destination::on(const wire::Commit& frame) {
  if (state_ != DestinationState::ready || frame.transcript != pages_->transcript()) {
    return fail(Errc::protocol, "commit: of something else than what was prepared");
  }
  FERRY_TRY(conversation_->pass_point_of_no_return());
  FERRY_TRY(enter(DestinationEvent::commit));
  FERRY_TRY(guest_.start(frame.token));
  FERRY_TRY(enter(DestinationEvent::started));
  conversation_->conclude(wire::Started{.token = frame.token});
  return {};
}

template <class Frame>
Result<void> Destination::on(const Frame& frame) {
  return fail(Errc::protocol, fmt::format("'{}' from the sender", wire::name_of(frame)));
}

Result<void> Destination::take_packet(std::span<const std::byte> header, Link& link) {
  const auto pages = this->pages();
  if (!pages) return fail(Errc::protocol, "a packet before the layout was agreed");
  return pages->lane(0).take(header, link);
}

void Destination::page_channel(const wire::Hello& hello, std::unique_ptr<Channel> channel) {
  if (hello.role != wire::Role::page) {
    arrivals_.push({hello, std::move(channel)});  // never full: one control channel is admitted
    return;
  }
  const auto pages = this->pages();
  if (auto added = pages->add_lane(
          hello.index, std::make_unique<Link>(std::move(channel), conversation_->liveness()));
      !added) {
    conversation_->fail(std::move(added).error());
  }
}

void Destination::cut(Errc why) {
  over_.request_stop();
  if (const auto pages = this->pages()) pages->cancel(why);
}

std::uint64_t Destination::bytes_verified() const {
  const auto pages = this->pages();
  return pages ? pages->bytes_verified() : 0;
}

std::shared_ptr<PageReceiver> Destination::pages() const {
  const std::scoped_lock lock(mutex_);
  return pages_;
}

Result<void> Destination::enter(DestinationEvent event) {
  const auto next_state = next(state_, event);
  if (!next_state) {
    return fail(Errc::protocol,
                fmt::format("the sender's words come in the wrong order: {} is no time "
                            "for that",
                            to_string(state_)));
  }
  state_ = *next_state;
  return {};
}

void Destination::add_to(Report& report) const {
  report.elapsed = Clock::now() - began_;
  report.peer = info_.peer;
  report.cipher = info_.cipher;
  report.kernel_tls = info_.kernel_tls;
  report.verify = verified_;
  report.channels = lanes_;
  report.bytes = memory_.total_bytes();
  report.state_bytes = device_state_.bytes();
  report.state_sections = device_state_.sections();
  if (rendezvous_) report.refused = rendezvous_->refused();
  if (!pages_) return;
  const PageReceiver::Totals totals = pages_->totals();
  report.wire_bytes = totals.wire_bytes;
  report.placed_bytes = totals.placed_bytes;
  report.zero_bytes = totals.zero_bytes;
  report.resent = totals.resent_units;
  report.suspect = totals.suspect_units;
  report.rounds = totals.rounds;
  report.packets = totals.packets;
  report.lanes = pages_->lane_reports();
  for (const LaneReport& lane : report.lanes) report.replacements += lane.replacements;
}

}  // namespace ferry
