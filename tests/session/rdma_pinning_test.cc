// Memory is pinned before a round begins: rounds are watched for pages that stand still, and to pin
// a large guest takes longer than anybody would wait for a page.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "rdma/transport.h"
#include "tests/rdma/fabric.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"

namespace ferry::test {
namespace {

class PinningOfAGuest : public testing::Test {
 protected:
  PinningOfAGuest() {
    runtime_->add(make_rdma_transport_over(fabric_.verbs(), {}));
    fabric_.set_faults({.on_register = [this](std::span<std::byte> memory, DeviceMay may) {
      const std::scoped_lock lock(mutex_);
      if (memory.size() == k_mib) seen_.emplace_back(may == DeviceMay::read ? "source" : "target");
      return 0;
    }});
  }
  Result<void> note(std::string what) {
    const std::scoped_lock lock(mutex_);
    seen_.push_back(std::move(what));
    return {};
  }

  Fabric fabric_;
  const std::unique_ptr<Runtime> runtime_ = Runtime::create().value();
  std::mutex mutex_;
  std::vector<std::string> seen_;  // guarded by it
};

TEST_F(PinningOfAGuest, IsDoneAtBothEndsBeforeItsFirstRoundAndOnceForAllChannels) {
  MemorySource from(layout_of({k_mib}));
  MemoryDestination to;
  from.on_start_tracking = [this] { return note("rounds begin"); };
  SendOptions options;
  options.channels = 3;
  const Ended ended = migrate(*runtime_, from, to, "rdma://127.0.0.1:0", options);
  ASSERT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  ASSERT_TRUE(ended.received.ok()) << why_not(ended.received);
  EXPECT_TRUE(identical(from, to));
  EXPECT_GT(ended.sent.report.placed_bytes, 0u);
  EXPECT_EQ(seen_, (std::vector<std::string>{"target", "source", "rounds begin"}));
}

TEST_F(PinningOfAGuest, ThatFailsAtTheReceiverIsToldToTheSenderBeforeAnyRound) {
  fabric_.set_faults({.on_register = [](std::span<std::byte> memory, DeviceMay may) {
    return memory.size() == k_mib && may == DeviceMay::let_peers_write ? ENOMEM : 0;
  }});
  MemorySource from(layout_of({k_mib}));
  MemoryDestination to;
  from.on_start_tracking = [this] { return note("rounds begin"); };
  const Ended ended = migrate(*runtime_, from, to, "rdma://127.0.0.1:0", {});
  ASSERT_FALSE(ended.received.ok());
  EXPECT_EQ(ended.received.why_not->code, Errc::system);
  EXPECT_FALSE(ended.sent.ok());
  EXPECT_TRUE(seen_.empty());
}

}  // namespace
}  // namespace ferry::test
