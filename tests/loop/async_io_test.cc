#include "loop/async_io.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "channels/buffer.h"
#include "channels/socket_channel.h"
#include "tests/loop/started.h"

namespace ferry {
namespace {

using namespace testing;
using Bytes = std::vector<std::byte>;
using Ends = std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>>;

struct Kind {
  const char* name;
  Ends (*make)();
};

/// With the facet, and without.
class AsyncIoTest : public ::testing::TestWithParam<Kind> {
 protected:
  AsyncIoTest() : ends_(GetParam().make()) {}
  Channel& ours() { return *ends_.first; }
  Channel& theirs() { return *ends_.second; }

  static Bytes pattern(std::size_t count) {
    Bytes bytes(count);
    for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
    return bytes;
  }
  void they_write(Bytes bytes) {
    const iovec piece{bytes.data(), bytes.size()};
    EXPECT_TRUE(theirs().write({&piece, 1}).has_value());
  }
  Bytes they_read(std::size_t count) {
    Bytes bytes(count);
    for (std::size_t done = 0; done < count;) {
      const iovec piece{bytes.data() + done, count - done};
      const auto got = theirs().read_some({&piece, 1});
      if (!got || *got == 0) return {};
      done += *got;
    }
    return bytes;
  }

  std::unique_ptr<EventLoop> loop_ = new_loop();
  Ends ends_;
};

TEST_P(AsyncIoTest, ReadsExactlyWhatWasAskedForHoweverItComes) {
  const Bytes sent = pattern(1000);
  std::jthread peer([&] {
    for (std::byte byte : sent) they_write({byte});
  });
  Bytes got(900);
  EXPECT_TRUE(run_to_end(*loop_, read_exactly(*loop_, ours(), got)).has_value());
  EXPECT_TRUE(std::ranges::equal(got, std::span(sent).first(900)));
  Bytes rest(100);
  EXPECT_TRUE(run_to_end(*loop_, read_exactly(*loop_, ours(), rest)).has_value());
  EXPECT_TRUE(std::ranges::equal(rest, std::span(sent).last(100)));
}

TEST_P(AsyncIoTest, ReadingNothingAsksForNothing) {
  EXPECT_TRUE(run_to_end(*loop_, read_exactly(*loop_, ours(), {})).has_value());
}

TEST_P(AsyncIoTest, APeerThatFinishesTooEarlyIsDisconnected) {
  they_write(pattern(10));
  EXPECT_TRUE(theirs().finish().has_value());
  Bytes got(11);
  const auto result = run_to_end(*loop_, read_exactly(*loop_, ours(), got));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, Errc::disconnected);
}

TEST_P(AsyncIoTest, WritesMoreThanTheLineHolds) {
  const Bytes sent = pattern(3 << 20);
  Bytes got;
  std::jthread peer([&] { got = they_read(sent.size()); });
  EXPECT_TRUE(run_to_end(*loop_, write_all(*loop_, ours(), sent)).has_value());
  peer.join();
  EXPECT_TRUE(got == sent);
}

TEST_P(AsyncIoTest, AWriteToAPeerThatIsGoneFails) {
  ends_.second.reset();
  EXPECT_FALSE(run_to_end(*loop_, write_all(*loop_, ours(), pattern(1 << 20))).has_value());
}

TEST_P(AsyncIoTest, DrainsUntilThePeerFinishes) {
  std::jthread peer([&] {
    they_write(pattern(100'000));
    EXPECT_TRUE(theirs().finish().has_value());
  });
  EXPECT_TRUE(run_to_end(*loop_, drain(*loop_, ours(), SIZE_MAX)).has_value());
  std::byte byte;
  const iovec piece{&byte, 1};
  EXPECT_EQ(ours().read_some({&piece, 1}).value(), 0u);
}

TEST_P(AsyncIoTest, DrainsNoMoreThanItMay) {
  std::jthread peer([&] { they_write(pattern(20'001)); });
  EXPECT_TRUE(run_to_end(*loop_, drain(*loop_, ours(), 20'000)).has_value());
  Bytes left(1);
  EXPECT_TRUE(run_to_end(*loop_, read_exactly(*loop_, ours(), left)).has_value());
  EXPECT_EQ(left, Bytes{pattern(20'001).back()});
}

TEST_P(AsyncIoTest, ADroppedReadHasLetGoOfChannelAndMemory) {
  for (int round = 0; round < 50; ++round) {
    Ends ends = GetParam().make();
    auto into = std::make_unique<Bytes>(10);
    Started<void> reading(read_exactly(*loop_, *ends.first, *into));
    // Where a helper thread reads, it may have begun or not: either must be safe.
    if (round % 2 == 0) run_one_turn(*loop_);
    EXPECT_FALSE(reading.ended());
    reading.drop();
    into.reset();
    ends.first.reset();
  }
}

TEST_P(AsyncIoTest, ADroppedWriteHasLetGoOfTheChannel) {
  for (int round = 0; round < 50; ++round) {
    Ends ends = GetParam().make();
    Started<void> writing(write_all(*loop_, *ends.first, Bytes(4 << 20)));
    if (round % 2 == 0) run_one_turn(*loop_);
    EXPECT_FALSE(writing.ended());
    writing.drop();
    ends.first.reset();
  }
}

TEST_P(AsyncIoTest, DestroyingTheLoopEndsAReadThatWaits) {
  Bytes into(10);
  loop_->spawn(read_exactly(*loop_, ours(), into));
  run_one_turn(*loop_);
  loop_.reset();
}

TEST_P(AsyncIoTest, ACancelledChannelFailsWithItsReason) {
  Bytes into(10);
  std::jthread canceller([&] { ours().cancel(Errc::timed_out); });
  const auto result = run_to_end(*loop_, read_exactly(*loop_, ours(), into));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, Errc::timed_out);
}

Ends socket_pair() {
  auto ends = make_socket_pair();
  EXPECT_TRUE(ends.has_value());
  EXPECT_NE(ends->first->facets().pollable, nullptr);
  return *std::move(ends);
}
Ends buffer_pair() {
  Ends ends = make_buffer_pair(4096);
  EXPECT_EQ(ends.first->facets().pollable, nullptr);
  return ends;
}

INSTANTIATE_TEST_SUITE_P(Channels, AsyncIoTest,
                         ::testing::Values(Kind{"pollable", &socket_pair},
                                           Kind{"blocking", &buffer_pair}),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace ferry
