#include "channels/faulty.h"

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "channels/buffer.h"
#include "channels/socket_channel.h"
#include "tests/channels/io.h"

namespace ferry::test {
namespace {

class Faulty : public testing::Test {
 protected:
  void make(FaultyOptions options) {
    auto [ours, theirs] = make_buffer_pair();
    ours_ = make_faulty(std::move(ours), options);
    theirs_ = std::move(theirs);
  }
  std::unique_ptr<Channel> ours_;
  std::unique_ptr<Channel> theirs_;
};

TEST_F(Faulty, WithoutFaultsItIsTheChannelWithin) {
  make({});
  ASSERT_TRUE(write_all(*ours_, "ping"));
  EXPECT_EQ(read_all(*theirs_, 4), "ping");
  ASSERT_TRUE(write_all(*theirs_, "pong"));
  EXPECT_EQ(read_all(*ours_, 4), "pong");
  EXPECT_EQ(ours_->info().scheme, "buffer");
}

TEST_F(Faulty, ItHasNoFacets) {
  auto [ours, theirs] = make_socket_pair().value();
  ASSERT_NE(ours->facets().pollable, nullptr);
  EXPECT_EQ(make_faulty(std::move(ours), {})->facets().pollable, nullptr);
}

TEST_F(Faulty, ReadsComeBackShort) {
  make({.reading = {.most_a_call = 3}});
  ASSERT_TRUE(write_all(*theirs_, "12345678"));
  EXPECT_EQ(read_once(*ours_), "123");
  EXPECT_EQ(read_once(*ours_), "456");
  EXPECT_EQ(read_once(*ours_), "78");
}

/// Counts what reaches it.
class Counter final : public Channel {
 public:
  Result<std::size_t> read_some(std::span<const iovec>) override { return 0; }
  Result<void> write(std::span<const iovec> from, Loan) override {
    for (const iovec& piece : from) bytes += piece.iov_len;
    ++calls;
    return {};
  }
  Result<void> flush() override { return {}; }
  Result<void> finish() override { return {}; }
  void cancel(Errc) noexcept override {}
  const ChannelInfo& info() const noexcept override { return info_; }

  std::size_t calls = 0;
  std::size_t bytes = 0;

 private:
  ChannelInfo info_;
};

TEST_F(Faulty, WritesArePassedOnInPieces) {
  auto counter = std::make_unique<Counter>();
  const Counter& seen = *counter;
  const auto faulty = make_faulty(std::move(counter), {.writing = {.most_a_call = 3}});
  ASSERT_TRUE(write_all(*faulty, "12345678"));
  EXPECT_EQ(seen.bytes, 8u);
  EXPECT_EQ(seen.calls, 3u);
}

TEST_F(Faulty, AReadStallsUntilItIsCancelled) {
  make({.reading = {.stall_after = 4}});
  ASSERT_TRUE(write_all(*theirs_, "1234and more"));
  EXPECT_EQ(read_once(*ours_), "1234");
  std::optional<Result<std::string>> outcome;
  BlockedThread reader([&] { outcome = read_once(*ours_); });
  reader.wait_until_asleep();
  ASSERT_TRUE(write_all(*ours_, "the other direction lives"));
  ours_->cancel(Errc::timed_out);
  reader.join();
  EXPECT_EQ(code_of(*outcome), Errc::timed_out);
}

TEST_F(Faulty, AWriteStallsAfterItsBytes) {
  make({.writing = {.stall_after = 4}});
  std::optional<Result<void>> outcome;
  BlockedThread writer([&] { outcome = write_all(*ours_, "1234and more"); });
  EXPECT_EQ(read_all(*theirs_, 4), "1234");
  writer.wait_until_asleep();
  ours_->cancel(Errc::cancelled);
  writer.join();
  EXPECT_EQ(code_of(*outcome), Errc::cancelled);
  EXPECT_EQ(code_of(read_once(*theirs_)), Errc::disconnected);  // and no more than four came
}

TEST_F(Faulty, ACutWhileWritingEndsBothDirectionsAndThePeers) {
  make({.writing = {.cut_after = 4}});
  EXPECT_EQ(code_of(write_all(*ours_, "1234and more")), Errc::disconnected);
  EXPECT_EQ(code_of(read_once(*ours_)), Errc::disconnected);
  EXPECT_EQ(code_of(ours_->finish()), Errc::disconnected);
  EXPECT_EQ(read_all(*theirs_, 4), "1234");
  EXPECT_EQ(code_of(read_once(*theirs_)), Errc::disconnected);
  EXPECT_EQ(code_of(write_all(*theirs_, "x")), Errc::disconnected);
}

TEST_F(Faulty, ACutWhileReadingGivesWhatCameBefore) {
  make({.reading = {.cut_after = 4}});
  ASSERT_TRUE(write_all(*theirs_, "1234and more"));
  EXPECT_EQ(read_all(*ours_, 4), "1234");
  EXPECT_EQ(code_of(write_all(*theirs_, "x")), Errc::disconnected);  // cut with the last byte
  EXPECT_EQ(code_of(read_once(*ours_)), Errc::disconnected);
  EXPECT_EQ(code_of(write_all(*ours_, "x")), Errc::disconnected);
}

/// Says how it was let go.
class Farewell final : public Channel {
 public:
  explicit Farewell(std::string& said) : said_(said) {}
  ~Farewell() override { said_ += "destroyed"; }
  Result<std::size_t> read_some(std::span<const iovec>) override { return 1; }
  Result<void> write(std::span<const iovec>, Loan) override { return {}; }
  Result<void> flush() override { return {}; }
  Result<void> finish() override { return {}; }
  void cancel(Errc) noexcept override { said_ += "cancelled, "; }
  const ChannelInfo& info() const noexcept override { return info_; }

 private:
  std::string& said_;
  ChannelInfo info_;
};

TEST_F(Faulty, ACutDestroysAnIdleChannelWithNoMoreCeremony) {
  std::string said;
  const auto writes = make_faulty(std::make_unique<Farewell>(said), {.writing = {.cut_after = 1}});
  ASSERT_TRUE(write_all(*writes, "x"));
  EXPECT_EQ(said, "destroyed");
  said.clear();
  const auto reads = make_faulty(std::make_unique<Farewell>(said), {.reading = {.cut_after = 1}});
  ASSERT_TRUE(read_once(*reads, 1));
  EXPECT_EQ(said, "destroyed");
}

TEST_F(Faulty, ACutWakesTheOtherDirection) {
  make({.writing = {.cut_after = 4}});
  std::optional<Result<std::string>> outcome;
  BlockedThread reader([&] { outcome = read_once(*ours_); });
  reader.wait_until_asleep();
  ASSERT_TRUE(write_all(*ours_, "1234"));
  reader.join();
  EXPECT_EQ(code_of(*outcome), Errc::disconnected);
}

TEST_F(Faulty, ACutWakesAStalledDirection) {
  make({.reading = {.stall_after = 0}, .writing = {.cut_after = 4}});
  std::optional<Result<std::string>> outcome;
  BlockedThread reader([&] { outcome = read_once(*ours_); });
  reader.wait_until_asleep();
  ASSERT_TRUE(write_all(*ours_, "1234"));
  reader.join();
  EXPECT_EQ(code_of(*outcome), Errc::disconnected);
}

TEST_F(Faulty, ACancelAfterACutChangesNothing) {
  make({.writing = {.cut_after = 0}});
  EXPECT_EQ(code_of(write_all(*ours_, "x")), Errc::disconnected);
  ours_->cancel(Errc::timed_out);
  EXPECT_EQ(code_of(write_all(*ours_, "x")), Errc::disconnected);
}

TEST_F(Faulty, OneBitIsFlippedOnTheWayIn) {
  make({.reading = {.flip_at = 2}});
  ASSERT_TRUE(write_all(*theirs_, "abcdef"));
  EXPECT_EQ(read_all(*ours_, 6), "abbdef");
}

TEST_F(Faulty, OneBitIsFlippedOnTheWayOutAndNotInOurMemory) {
  make({.writing = {.flip_at = 2}});
  const std::string sent = "abcdef";
  ASSERT_TRUE(write_all(*ours_, sent));
  EXPECT_EQ(read_all(*theirs_, 6), "abbdef");
  EXPECT_EQ(sent, "abcdef");
}

TEST_F(Faulty, FaultsCountBytesThroughShortCalls) {
  make({.writing = {.most_a_call = 2, .cut_after = 5, .flip_at = 3}});
  EXPECT_EQ(code_of(write_all(*ours_, "aaaaaaa")), Errc::disconnected);
  EXPECT_EQ(read_all(*theirs_, 5), "aaa`a");
  EXPECT_EQ(code_of(read_once(*theirs_)), Errc::disconnected);
}

}  // namespace
}  // namespace ferry::test
