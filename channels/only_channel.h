// A listener that has its one peer already.
#pragma once

#include <memory>
#include <utility>

#include "ferry/transport.h"

namespace ferry {

/// Gives the one channel there is (Lines::one).
class OnlyChannel final : public Listener {
 public:
  OnlyChannel(std::unique_ptr<Channel> channel, Uri at)
      : channel_(std::move(channel)), at_(std::move(at)) {}

  Task<std::unique_ptr<Channel>> accept() override {
    if (!channel_) {
      co_await fail(Errc::usage, "accept on " + at_.text() + ": it has one channel only");
    }
    co_return std::move(channel_);
  }
  Uri local() const override { return at_; }
  Lines lines() const noexcept override { return Lines::one; }

 private:
  std::unique_ptr<Channel> channel_;
  const Uri at_;
};

}  // namespace ferry
