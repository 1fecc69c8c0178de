// Two ends of a line of the kind that is on trial.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "tests/channels/loop_thread.h"
#include "tests/conformance/channel_kinds.h"

namespace ferry::test {

/// Connects them; skips where this host has no such line.
class Connected : public testing::TestWithParam<ChannelKind> {
 protected:
  void SetUp() override {
    Result<Ends> ends = GetParam().connect(runner_);
    if (!ends && (ends.error().sys == EADDRNOTAVAIL || ends.error().sys == EAFNOSUPPORT)) {
      GTEST_SKIP() << "this host has none: " << ends.error().text();
    }
    ASSERT_TRUE(ends) << ends.error().text();
    ours_ = std::move(ends->ours);
    theirs_ = std::move(ends->theirs);
  }
  /// False where SetUp() has skipped or failed.
  bool there() const { return ours_ != nullptr; }

  LoopThread runner_;
  std::unique_ptr<Channel> ours_;
  std::unique_ptr<Channel> theirs_;
};

}  // namespace ferry::test
