// The channels without a descriptor: null and buffer.
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "channels/buffer.h"
#include "channels/null.h"
#include "tests/channels/io.h"

namespace ferry::test {
namespace {

TEST(Null, HasFinishedFromTheStart) {
  NullChannel null;
  EXPECT_EQ(read_once(null), "");
  EXPECT_EQ(read_once(null), "");
}

TEST(Null, CountsWhatItThrowsAway) {
  NullChannel null;
  ASSERT_TRUE(write_all(null, "12345"));
  ASSERT_TRUE(null.write(pieces_of("1234567", 2), Loan::until_flush));
  ASSERT_TRUE(null.flush());
  ASSERT_TRUE(null.finish());
  EXPECT_EQ(null.bytes_written(), 12u);
}

TEST(Null, FailsWithTheReasonOnceCancelled) {
  NullChannel null;
  null.cancel(Errc::timed_out);
  null.cancel(Errc::cancelled);
  EXPECT_EQ(code_of(read_once(null)), Errc::timed_out);
  EXPECT_EQ(code_of(write_all(null, "x")), Errc::timed_out);
  EXPECT_EQ(code_of(null.flush()), Errc::timed_out);
  EXPECT_EQ(code_of(null.finish()), Errc::timed_out);
  EXPECT_EQ(null.bytes_written(), 0u);
}

TEST(Buffer, HoldsNoMoreThanItsCapacity) {
  const auto [ours, theirs] = make_buffer_pair(4);
  std::optional<Result<void>> outcome;
  BlockedThread writer([&] { outcome = write_all(*ours, "12345678"); });
  writer.wait_until_asleep();
  EXPECT_EQ(read_once(*theirs), "1234");
  EXPECT_EQ(read_all(*theirs, 4), "5678");
  writer.join();
  EXPECT_TRUE(*outcome);
}

TEST(Buffer, EitherEndMayGoFirst) {
  auto [ours, theirs] = make_buffer_pair();
  ASSERT_TRUE(write_all(*ours, "left behind"));
  ours.reset();
  EXPECT_EQ(read_all(*theirs, 11), "left behind");
  EXPECT_EQ(text_of(read_once(*theirs)), "read from a buffer pair: the other end is gone");
  theirs.reset();
}

TEST(Buffer, ACancelledPeerIsCutAfterItsBytes) {
  const auto [ours, theirs] = make_buffer_pair();
  ASSERT_TRUE(write_all(*ours, "abc"));
  ours->cancel();
  EXPECT_EQ(read_all(*theirs, 3), "abc");
  EXPECT_EQ(code_of(read_once(*theirs)), Errc::disconnected);
  EXPECT_EQ(code_of(write_all(*theirs, "x")), Errc::disconnected);
}

TEST(Buffer, CapacityOneStillPassesEverything) {
  const auto [ours, theirs] = make_buffer_pair(1);
  const std::string sent = noise(500, 6);
  std::jthread writer([&] {
    ASSERT_TRUE(write_all(*ours, sent));
    ASSERT_TRUE(ours->finish());
  });
  EXPECT_EQ(read_all(*theirs, 501), sent);
}

}  // namespace
}  // namespace ferry::test
