// What a channel made from a channel has to do with the one within.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/cancel_reason.h"
#include "channels/retold.h"
#include "ferry/channel.h"
#include "ferry/result.h"

namespace ferry {

/// The channel within, and the first failure of each direction, told of the channel around it. The
/// threads are a Channel's: one reads, one writes, and cancel() comes from anywhere.
class InnerLine {
 public:
  /// `peer` is the name of the channel around it, for errors.
  InnerLine(std::unique_ptr<Channel> channel, const std::string& peer)
      : channel_(std::move(channel)),
        pollable_(channel_->facets().pollable),
        read_act_("read from " + peer),
        write_act_("write to " + peer) {}

  Channel* operator->() const noexcept { return channel_.get(); }
  Channel& channel() const noexcept { return *channel_; }
  /// Null where it has no such facet.
  Pollable* pollable() const noexcept { return pollable_; }

  /// Thread-safe.
  void cancel(Errc why) noexcept {
    cancelled_.give(why);
    channel_->cancel(why);
  }
  bool cancelled() const noexcept { return cancelled_.given(); }

  /// By the reading thread: the failure that every later read repeats.
  Result<void> check_reading() const {
    if (read_failure_) return std::unexpected(*read_failure_);
    if (auto reason = cancelled_.error(read_act_)) return std::unexpected(std::move(*reason));
    return {};
  }
  std::unexpected<Error> reading_failed(Error error) {
    read_failure_ = retold(std::move(error), channel_->info().peer, read_act_, cancelled_);
    return std::unexpected(*read_failure_);
  }

  /// Likewise, by the writing thread.
  Result<void> check_writing() const {
    if (write_failure_) return std::unexpected(*write_failure_);
    if (auto reason = cancelled_.error(write_act_)) return std::unexpected(std::move(*reason));
    return {};
  }
  std::unexpected<Error> writing_failed(Error error) {
    if (!write_failure_) {
      write_failure_ = retold(std::move(error), channel_->info().peer, write_act_, cancelled_);
    }
    return std::unexpected(*write_failure_);
  }

 private:
  const std::unique_ptr<Channel> channel_;
  Pollable* const pollable_;
  const std::string read_act_;
  const std::string write_act_;
  CancelReason cancelled_;
  std::optional<Error> read_failure_;   // the reading thread's
  std::optional<Error> write_failure_;  // the writing thread's
};

}  // namespace ferry
