#include "tests/multifd/transfer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "channels/buffer.h"
#include "channels/faulty.h"
#include "channels/socket_channel.h"

namespace ferry::test {

ChannelPair make_line(Transfer::Line line, const PlacingOptions& placing) {
  if (line == Transfer::Line::buffer) return make_buffer_pair();
  if (line == Transfer::Line::placing) return make_placing_pair(placing);
  return make_socket_pair().value();
}

Transfer::Transfer(const GuestMemory& from, const GuestMemory& to, const Options& options)
    : motion_(options.motion) {
  const auto on_failure = [this](Error error) { fail(std::move(error)); };
  connect(options);
  const auto copies = [this, count = options.copying_lanes](const Error&) {
    const std::scoped_lock lock(failing_);
    if (count != nullptr) ++*count;
  };
  sender_ = std::make_unique<PageSender>(
      from, options.sending, LaneEvents{.failed = on_failure, .copies_instead = copies});
  receiver_ = std::make_unique<PageReceiver>(to, options.lanes, *destination_control_, on_failure,
                                             options.keep_state);
  control_reader_ = std::thread([this] { read_control(); });
  for (unsigned lane = 0; lane < options.lanes; ++lane) {
    EXPECT_TRUE(sender_->add_lane(*links_[lane]));
    EXPECT_TRUE(
        receiver_->add_lane(static_cast<std::uint16_t>(lane), std::exchange(ends_[lane], {})));
  }
}

// After this no thread of the halves cuts any more: whoever was first has done so.
Transfer::~Transfer() {
  fail(Error{Errc::cancelled, 0, "the transfer is taken down", {}});
  control_reader_.join();
}

void Transfer::connect(const Options& options) {
  auto [source, destination] = make_line(options.line);
  source_control_ = std::make_unique<Link>(std::move(source), liveness_);
  destination_control_ = std::make_unique<Link>(std::move(destination), liveness_);
  for (unsigned lane = 0; lane < options.lanes; ++lane) {
    auto [ours, theirs] = make_line(options.line, options.placing);
    for (const std::uint64_t at : options.flips) {
      theirs = make_faulty(std::move(theirs), {.reading = {.flip_at = at}});
    }
    links_.push_back(std::make_unique<Link>(std::move(ours), liveness_));
    ends_.push_back(std::make_unique<Link>(std::move(theirs), liveness_));
  }
}

Result<std::vector<PageRun>> Transfer::round(const std::vector<PageWork>& work) {
  return round([&](PageSender& sender) {
    return std::ranges::all_of(
        work, [&](const PageWork& item) { return sender.submit(item.run, item.content); });
  });
}

Result<std::vector<PageRun>> Transfer::round(const std::function<bool(PageSender&)>& submit) {
  sender_->begin_round(round_, motion_);
  if (!submit(*sender_) || !sender_->end_round()) return std::unexpected(*first_.get());

  std::vector<PageRun> suspects;
  while (const auto frame = frames_.pop()) {
    if (const auto* told = std::get_if<wire::Suspects>(&*frame)) {
      suspects.insert(suspects.end(), told->runs.begin(), told->runs.end());
      continue;
    }
    EXPECT_EQ(*frame, wire::ControlFrame(wire::RoundAck{.round = round_}));
    ++round_;
    return suspects;
  }
  return std::unexpected(*first_.get());
}

Result<std::vector<PageRun>> Transfer::round(const std::vector<PageRun>& runs) {
  std::vector<PageWork> work;
  for (const PageRun& run : runs) work.push_back({.run = run});
  return round(work);
}

void Transfer::fail(Error error) {
  const std::lock_guard lock(failing_);
  const Errc code = error.code;
  if (first_.set(std::move(error))) cut(code);
}

void Transfer::cut(Errc why) {
  frames_.close();
  sender_->close();
  receiver_->cancel(why);
  for (const auto& link : links_) link->cancel(why);
  source_control_->cancel(why);
  destination_control_->cancel(why);
}

void Transfer::read_control() {
  if (auto read = read_frames(); !read) fail(std::move(read).error());
}

Result<void> Transfer::read_frames() {
  while (const auto message = FERRY_TRY(source_control_->next())) {
    const wire::ControlFrame frame = FERRY_TRY(wire::decode_control(message->bytes));
    if (const auto* nak = std::get_if<wire::Nak>(&frame)) {
      FERRY_TRY(sender_->resend(*nak));
    } else if (const auto* kept = std::get_if<wire::StateAck>(&frame)) {
      FERRY_TRY(sender_->state_acknowledged(*kept));
    } else {
      frames_.push(frame);
    }
  }
  return {};
}

}  // namespace ferry::test
