// What every channel with a BulkRead facet promises.
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

#include "tests/channels/io.h"
#include "tests/conformance/connected.h"

namespace ferry::test {
namespace {

constexpr std::size_t k_much = 256 * 1024;

class BulkReadConformance : public Connected {
 protected:
  void SetUp() override {
    Connected::SetUp();
    if (!there()) return;
    bulk_ = ours_->facets().bulk_read;
    ASSERT_NE(bulk_, nullptr);
  }

  /// What one call gives; empty where the peer has finished.
  Result<std::string> read_bulk(std::size_t enough = k_much) {
    std::string room(k_much, '\0');
    const iovec piece{room.data(), room.size()};
    room.resize(FERRY_TRY(bulk_->read_bulk({&piece, 1}, enough)));
    return room;
  }

  BulkRead* bulk_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Every, BulkReadConformance, testing::ValuesIn(every_channel_of_bulk()),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(BulkReadConformance, LessThanEnoughComesAllTheSame) {
  ASSERT_TRUE(write_all(*theirs_, "a little"));
  EXPECT_EQ(read_bulk(), "a little");
}

TEST_P(BulkReadConformance, NothingIsNoAnswer) {
  std::optional<Result<std::string>> outcome;
  BlockedThread reader([&] { outcome = read_bulk(); });
  reader.wait_until_asleep();
  ASSERT_TRUE(write_all(*theirs_, "late"));
  reader.join();
  EXPECT_EQ(*outcome, "late");
}

/// Enough again and again, while what is left of the whole is less and less.
TEST_P(BulkReadConformance, AllOfItComesAndInItsOrder) {
  const std::string sent = noise(5'000'003, 1);
  std::optional<Result<void>> written;
  BlockedThread writer([&] { written = write_all(*theirs_, sent); });
  std::string got;
  while (got.size() < sent.size()) {
    const auto part = read_bulk(std::min(k_much, sent.size() - got.size()));
    ASSERT_TRUE(part) << part.error().text();
    ASSERT_FALSE(part->empty());
    got += *part;
  }
  writer.join();
  EXPECT_TRUE(*written);
  EXPECT_EQ(got, sent);
}

TEST_P(BulkReadConformance, APlainReadBehindItWaitsForAByteOnly) {
  ASSERT_TRUE(write_all(*theirs_, "a little"));
  ASSERT_EQ(read_bulk(), "a little");
  std::optional<Result<std::string>> outcome;
  BlockedThread reader([&] { outcome = read_once(*ours_); });
  reader.wait_until_asleep();
  ASSERT_TRUE(write_all(*theirs_, "x"));
  reader.join();
  EXPECT_EQ(*outcome, "x");
}

Task<std::string> read_once_on_the_loop(EventLoop& loop, Pollable& from) {
  for (;;) {
    std::string room(16, '\0');
    const iovec piece{room.data(), room.size()};
    const Pollable::Step step = co_await from.try_read_some({&piece, 1});
    if (step.wait_for == Interest::none) co_return room.substr(0, step.bytes);
    co_await loop.ready(from.fd(), step.wait_for);
  }
}

TEST_P(BulkReadConformance, ALoopBehindItWaitsForAByteOnly) {
  ASSERT_TRUE(write_all(*theirs_, "a little"));
  ASSERT_EQ(read_bulk(), "a little");
  std::optional<Result<std::string>> outcome;
  BlockedThread reader([&] {
    outcome = runner_.run(read_once_on_the_loop(runner_.loop(), *ours_->facets().pollable));
  });
  reader.wait_until_asleep();
  ASSERT_TRUE(write_all(*theirs_, "x"));
  reader.join();
  EXPECT_EQ(*outcome, "x");
}

TEST_P(BulkReadConformance, AFinishEndsTheWaiting) {
  ASSERT_TRUE(write_all(*theirs_, "last words"));
  ASSERT_TRUE(theirs_->finish());
  EXPECT_EQ(read_bulk(), "last words");
  EXPECT_EQ(read_bulk(), "");
}

TEST_P(BulkReadConformance, CancelEndsTheWaiting) {
  std::optional<Result<std::string>> outcome;
  BlockedThread reader([&] { outcome = read_bulk(); });
  reader.wait_until_asleep();
  ours_->cancel(Errc::timed_out);
  reader.join();
  EXPECT_EQ(code_of(*outcome), Errc::timed_out);
}

TEST_P(BulkReadConformance, ADestroyedPeerEndsTheWaiting) {
  std::optional<Result<std::string>> outcome;
  BlockedThread reader([&] { outcome = read_bulk(); });
  reader.wait_until_asleep();
  theirs_.reset();
  reader.join();
  if (GetParam().loud_destruction == LoudDestruction::reads_as_a_finish) {
    EXPECT_EQ(*outcome, "");
  } else {
    EXPECT_EQ(code_of(*outcome), Errc::disconnected);
  }
}

}  // namespace
}  // namespace ferry::test
