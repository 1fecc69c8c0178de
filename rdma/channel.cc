#include "rdma/channel.h"

#include <cassert>
#include <utility>

namespace ferry {
namespace {

Error of(const std::string& act, Error why) {
  why.context = act + ": " + why.context;
  return why;
}

}  // namespace

RdmaChannel::RdmaChannel(std::unique_ptr<RdmaLine> line, ChannelInfo info,
                         std::uint64_t most_pinned)
    : info_(std::move(info)),
      read_act_("read from " + info_.peer),
      write_act_("write to " + info_.peer),
      placed_(*line, info_.peer, most_pinned),
      target_(*line, info_.peer, most_pinned),
      line_(std::move(line)) {
  line_->tell_rights(&rights_);
}

RdmaChannel::~RdmaChannel() { target_.leave(); }

Result<void> RdmaChannel::Rights::hear(const Held& held, RdmaWord word,
                                       std::span<const std::byte> payload) {
  const bool is_of_the_peers_memory =
      word == RdmaWord::admit || word == RdmaWord::grant || word == RdmaWord::revoke;
  return is_of_the_peers_memory ? channel_.placed_.hear(held, word, payload)
                                : channel_.target_.hear(held, word, payload);
}

void RdmaChannel::Rights::look_again(const Held& held) {
  channel_.placed_.look_again(held);
  channel_.target_.look_again(held);
}

Result<void> RdmaChannel::check_reading() const {
  if (read_failure_) return std::unexpected(*read_failure_);
  if (auto reason = line_->cancelled().error(read_act_)) return std::unexpected(*std::move(reason));
  return {};
}

Result<void> RdmaChannel::check_writing() {
  if (write_failure_) return std::unexpected(*write_failure_);
  auto reason = line_->cancelled().error(write_act_);
  if (!reason && line_->broken()) reason = of(write_act_, *line_->broken());
  if (!reason) return {};
  write_failure_ = std::move(reason);
  return std::unexpected(*write_failure_);
}

/// Once the line is readable.
Result<std::size_t> RdmaChannel::take(const RdmaLine::Held& held, std::span<const iovec> into) {
  if (auto stands = check_reading(); !stands) {
    read_failure_ = stands.error();
    return std::unexpected(*read_failure_);
  }
  if (line_->has_arrived()) {
    IovecWindow room(into);
    assert(!room.done());
    return line_->take(held, room);
  }
  if (line_->at_finish()) return 0;
  read_failure_ = of(read_act_, *line_->broken());
  return std::unexpected(*read_failure_);
}

Result<std::size_t> RdmaChannel::read_some(std::span<const iovec> into) {
  FERRY_TRY(check_reading());
  RdmaLine::Held held = line_->hold();
  line_->wait(held, RdmaLine::Also::nothing, [this] { return line_->readable(); });
  return take(held, into);
}

Result<Pollable::Step> RdmaChannel::try_read_some(std::span<const iovec> into) {
  FERRY_TRY(check_reading());
  const RdmaLine::Held held = line_->hold();
  if (!line_->ready_or_told(held, RdmaLine::Direction::reading,
                            [this] { return line_->readable(); })) {
    return Step{.wait_for = Interest::read};
  }
  return Step{.bytes = FERRY_TRY(take(held, into))};
}

Result<void> RdmaChannel::write(std::span<const iovec> from, Loan) {
  RdmaLine::Held held = line_->hold();
  FERRY_TRY(check_writing());
  for (IovecWindow rest(from); !rest.done();) {
    line_->wait(held, RdmaLine::Also::ends_of_requests, [this] { return line_->writable(); });
    FERRY_TRY(check_writing());
    line_->give(held, rest);
  }
  return {};
}

/// It may be credits that it waits for, which come to be read, or a buffer, whose end comes the
/// same way: there is one descriptor, and it is only ever readable.
Result<Pollable::Step> RdmaChannel::try_write_some(std::span<const iovec> from) {
  const RdmaLine::Held held = line_->hold();
  FERRY_TRY(check_writing());
  IovecWindow rest(from);
  if (rest.done()) return Step{};
  if (!line_->ready_or_told(held, RdmaLine::Direction::writing,
                            [this] { return line_->writable(); })) {
    return Step{.wait_for = Interest::read};
  }
  FERRY_TRY(check_writing());
  return Step{.bytes = line_->give(held, rest)};
}

/// Nothing is on loan: messages are copies.
Result<void> RdmaChannel::flush() {
  const RdmaLine::Held held = line_->hold();
  return check_writing();
}

Result<void> RdmaChannel::finish() {
  RdmaLine::Held held = line_->hold();
  FERRY_TRY(check_writing());
  line_->say_finish(held);
  // Destroying the channel would take back what is still on its way.
  line_->wait(held, RdmaLine::Also::ends_of_requests,
              [this] { return line_->finish_has_arrived() || line_->broken(); });
  if (line_->finish_has_arrived()) return {};
  return check_writing();
}

}  // namespace ferry
