// What every Channel promises, tried on every Channel.
#include <gtest/gtest.h>

#include <limits.h>
#include <cerrno>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/channels/io.h"
#include "tests/conformance/connected.h"

namespace ferry::test {
namespace {

class ChannelConformance : public Connected {
 protected:
  /// A fresh line in the place of the one that a test has used up.
  void connect_again() { SetUp(); }
};

INSTANTIATE_TEST_SUITE_P(Every, ChannelConformance, testing::ValuesIn(every_channel()),
                         [](const auto& kind) { return kind.param.name; });

// Bytes.

TEST_P(ChannelConformance, AMessagePassesEachWay) {
  ASSERT_TRUE(write_all(*ours_, "ping"));
  EXPECT_EQ(read_all(*theirs_, 4), "ping");
  ASSERT_TRUE(write_all(*theirs_, "pong"));
  EXPECT_EQ(read_all(*ours_, 4), "pong");
}

TEST_P(ChannelConformance, AShortReadLeavesTheRest) {
  ASSERT_TRUE(write_all(*ours_, "abcdefgh"));
  const auto first = read_once(*theirs_, 3);
  ASSERT_TRUE(first);
  ASSERT_FALSE(first->empty());
  ASSERT_LE(first->size(), 3u);
  EXPECT_EQ(*first + *read_all(*theirs_, 8 - first->size()), "abcdefgh");
}

TEST_P(ChannelConformance, AReadDoesNotWaitForAllItHasRoomFor) {
  ASSERT_TRUE(write_all(*ours_, "x"));
  EXPECT_EQ(read_once(*theirs_, 1000), "x");
}

TEST_P(ChannelConformance, AMessageSurvivesEverySplitPointAndPieceSize) {
  const std::string message = "0123456789abcdefghijklmn";
  std::jthread writer([&] {
    for (std::size_t piece = 1; piece <= message.size(); ++piece) {
      for (std::size_t split = 0; split <= message.size(); ++split) {
        ASSERT_TRUE(write_all(*ours_, message.substr(0, split)));
        ASSERT_TRUE(write_all(*ours_, message.substr(split)));
      }
    }
  });
  for (std::size_t piece = 1; piece <= message.size(); ++piece) {
    for (std::size_t split = 0; split <= message.size(); ++split) {
      ASSERT_EQ(read_all(*theirs_, message.size(), piece), message) << split << ' ' << piece;
    }
  }
}

TEST_P(ChannelConformance, MorePiecesThanTheKernelTakesAtOnce) {
  const std::string sent = noise(3 * IOV_MAX + 5, 1);
  std::string got(sent.size(), '\0');
  const std::vector<iovec> from = pieces_of(sent, 1);
  const std::vector<iovec> into = pieces_of(got, 1);
  std::jthread writer([&] { ASSERT_TRUE(ours_->write(from)); });
  for (std::size_t at = 0; at < got.size();) {
    const auto bytes = theirs_->read_some(std::span(into).subspan(at));
    ASSERT_TRUE(bytes) << bytes.error().text();
    ASSERT_GT(*bytes, 0u);
    at += *bytes;
  }
  EXPECT_TRUE(got == sent);
}

TEST_P(ChannelConformance, EmptyPiecesAreNothing) {
  std::string left = "left";
  std::string right = "right";
  // So many in front that a whole system call's worth of them is empty.
  std::vector<iovec> from(2 * IOV_MAX, iovec{nullptr, 0});
  from.push_back({left.data(), left.size()});
  from.push_back({nullptr, 0});
  from.push_back({right.data(), right.size()});
  from.push_back({nullptr, 0});
  ASSERT_TRUE(ours_->write(from));

  std::string got(9, '\0');
  std::vector<iovec> into(2 * IOV_MAX, iovec{nullptr, 0});
  into.push_back({got.data(), 2});
  into.push_back({nullptr, 0});
  into.push_back({got.data() + 2, 1});
  for (std::size_t at = 0; at < got.size();) {
    into[2 * IOV_MAX] = {got.data() + at, std::min<std::size_t>(2, got.size() - at)};
    into.back() = {nullptr, 0};
    const auto bytes = theirs_->read_some(into);
    ASSERT_TRUE(bytes) << bytes.error().text();
    ASSERT_GT(*bytes, 0u);
    at += *bytes;
  }
  EXPECT_EQ(got, "leftright");
}

TEST_P(ChannelConformance, AnEmptyWriteSucceedsAndSendsNothing) {
  ASSERT_TRUE(ours_->write({}));
  ASSERT_TRUE(write_all(*ours_, ""));
  ASSERT_TRUE(write_all(*ours_, "!"));
  EXPECT_EQ(read_once(*theirs_), "!");
}

TEST_P(ChannelConformance, ALotPassesBothWaysAtOnce) {
  const std::string down = noise(GetParam().a_lot + 3, 2);
  const std::string up = noise(GetParam().a_lot - 4321, 3);
  std::jthread writer([&] {
    ASSERT_TRUE(ours_->write(pieces_of(down, 12345)));
    ASSERT_TRUE(ours_->finish());
  });
  std::jthread their_writer([&] {
    ASSERT_TRUE(theirs_->write(pieces_of(up, 70001)));
    ASSERT_TRUE(theirs_->finish());
  });
  std::jthread their_reader([&] {
    const auto got = read_all(*theirs_, down.size() + 1, 54321);
    EXPECT_TRUE(got && *got == down);
  });
  const auto got = read_all(*ours_, up.size() + 1, 1 << 20);
  EXPECT_TRUE(got && *got == up);
}

TEST_P(ChannelConformance, WrittenMemoryIsFreeAgain) {
  std::string message = "first";
  ASSERT_TRUE(write_all(*ours_, message));
  message = "other";
  EXPECT_EQ(read_all(*theirs_, 5), "first");
}

TEST_P(ChannelConformance, ALoanEndsWithFlush) {
  std::string message = "first";
  const iovec piece{message.data(), message.size()};
  ASSERT_TRUE(ours_->write({&piece, 1}, Loan::until_flush));
  ASSERT_TRUE(ours_->flush());
  message = "other";
  EXPECT_EQ(read_all(*theirs_, 5), "first");
}

// Cancel.

TEST_P(ChannelConformance, CancelWakesABlockedRead) {
  std::optional<Result<std::string>> outcome;
  BlockedThread reader([&] { outcome = read_once(*ours_); });
  reader.wait_until_asleep();
  ours_->cancel(Errc::timed_out);
  reader.join();
  ASSERT_FALSE(*outcome);
  EXPECT_EQ(outcome->error().code, Errc::timed_out);
}

TEST_P(ChannelConformance, CancelWakesABlockedWrite) {
  std::optional<Error> outcome;
  BlockedThread writer([&] { outcome = write_until_failure(*ours_); });
  writer.wait_until_asleep();
  ours_->cancel(Errc::refused);
  writer.join();
  EXPECT_EQ(outcome->code, Errc::refused);
}

TEST_P(ChannelConformance, CancelWakesBothDirectionsAtOnce) {
  std::optional<Result<std::string>> read;
  std::optional<Error> write;
  BlockedThread reader([&] { read = read_once(*ours_); });
  BlockedThread writer([&] { write = write_until_failure(*ours_); });
  reader.wait_until_asleep();
  writer.wait_until_asleep();
  ours_->cancel();
  reader.join();
  writer.join();
  ASSERT_FALSE(*read);
  EXPECT_EQ(read->error().code, Errc::cancelled);
  EXPECT_EQ(write->code, Errc::cancelled);
}

TEST_P(ChannelConformance, CancelBeforeTheCallFailsEveryCall) {
  ASSERT_TRUE(write_all(*theirs_, "unread"));
  ours_->cancel(Errc::timed_out);
  EXPECT_EQ(code_of(read_once(*ours_)), Errc::timed_out);
  EXPECT_EQ(code_of(write_all(*ours_, "x")), Errc::timed_out);
  EXPECT_EQ(code_of(ours_->write({})), Errc::timed_out);
  EXPECT_EQ(code_of(ours_->flush()), Errc::timed_out);
  EXPECT_EQ(code_of(ours_->finish()), Errc::timed_out);
}

TEST_P(ChannelConformance, TheFirstReasonOfACancelStays) {
  ours_->cancel(Errc::timed_out);
  ours_->cancel(Errc::cancelled);
  EXPECT_EQ(code_of(read_once(*ours_)), Errc::timed_out);
  EXPECT_EQ(code_of(write_all(*ours_, "x")), Errc::timed_out);
}

TEST_P(ChannelConformance, CancelsFromManyThreadsGiveOneReason) {
  std::optional<Result<std::string>> read;
  std::optional<Error> write;
  BlockedThread reader([&] { read = read_once(*ours_); });
  BlockedThread writer([&] { write = write_until_failure(*ours_); });
  {
    std::jthread one([&] { ours_->cancel(Errc::timed_out); });
    std::jthread other([&] { ours_->cancel(Errc::refused); });
  }
  reader.join();
  writer.join();
  ASSERT_FALSE(*read);
  EXPECT_EQ(read->error().code, write->code);
  EXPECT_TRUE(write->code == Errc::timed_out || write->code == Errc::refused);
}

TEST_P(ChannelConformance, CancelEndsThePeersWaiting) {
  std::optional<Error> write;
  BlockedThread writer([&] { write = write_until_failure(*theirs_); });
  std::optional<Result<void>> read;
  BlockedThread reader([&] { read = drain(*theirs_); });
  writer.wait_until_asleep();
  reader.wait_until_asleep();
  ours_->cancel();
  if (GetParam().cancel_reaches_peer == CancelReachesPeer::when_destroyed) ours_.reset();
  writer.join();
  reader.join();
  EXPECT_EQ(write->code, Errc::disconnected);
  // What the reader sees, an end or a cut, is the transport's affair.
  if (!*read) {
    EXPECT_EQ(read->error().code, Errc::disconnected);
  }
}

// The end.

TEST_P(ChannelConformance, AFinishReadsAsZeroAfterTheLastByte) {
  ASSERT_TRUE(write_all(*ours_, "last words"));
  ASSERT_TRUE(ours_->finish());
  EXPECT_EQ(read_all(*theirs_, 100), "last words");
  EXPECT_EQ(read_once(*theirs_), "");
  EXPECT_EQ(read_once(*theirs_), "");
}

TEST_P(ChannelConformance, AFinishWakesABlockedRead) {
  std::optional<Result<std::string>> outcome;
  BlockedThread reader([&] { outcome = read_once(*theirs_); });
  reader.wait_until_asleep();
  ASSERT_TRUE(ours_->finish());
  reader.join();
  EXPECT_EQ(*outcome, "");
}

TEST_P(ChannelConformance, ReadingGoesOnAfterOurFinish) {
  ASSERT_TRUE(ours_->finish());
  EXPECT_EQ(read_once(*theirs_), "");
  ASSERT_TRUE(write_all(*theirs_, "still here"));
  ASSERT_TRUE(theirs_->finish());
  EXPECT_EQ(read_all(*ours_, 100), "still here");
  EXPECT_EQ(read_once(*ours_), "");
}

TEST_P(ChannelConformance, AFinishBeforeTheDestructionIsStillAFinish) {
  ASSERT_TRUE(write_all(*ours_, "last words"));
  ASSERT_TRUE(ours_->finish());
  ours_.reset();
  EXPECT_EQ(read_all(*theirs_, 100), "last words");
  EXPECT_EQ(read_once(*theirs_), "");
}

TEST_P(ChannelConformance, ACutLineIsNoFinish) {
  if (GetParam().loud_destruction == LoudDestruction::reads_as_a_finish) {
    GTEST_SKIP() << "what is on the way does not tell the two apart";
  }
  ASSERT_TRUE(write_all(*ours_, "never read"));
  theirs_.reset();
  const auto read = read_once(*ours_);
  EXPECT_EQ(code_of(read), Errc::disconnected);
}

TEST_P(ChannelConformance, ADestructionWithoutAFinishIsACutAfterTheLastByte) {
  if (GetParam().quiet_destruction == QuietDestruction::reads_as_a_finish) {
    GTEST_SKIP() << "what is on the way does not tell the two apart when no byte was left unread";
  }
  ASSERT_TRUE(write_all(*theirs_, "last words"));
  EXPECT_EQ(read_all(*ours_, 10), "last words");
  theirs_.reset();
  const auto read = read_once(*ours_);
  EXPECT_EQ(code_of(read), Errc::disconnected);
}

TEST_P(ChannelConformance, ACutLineIsToldToTheReaderAndToTheWriter) {
  // Often, because both are woken at once and either may be the first to hear of it.
  for (int round = 0; round < 25; ++round) {
    std::optional<Result<std::string>> read;
    std::optional<Error> write;
    BlockedThread reader([&] { read = read_once(*ours_); });
    BlockedThread writer([&] { write = write_until_failure(*ours_); });
    // Something has come that is left unread.
    ASSERT_TRUE(read_once(*theirs_, 1));
    writer.wait_until_asleep();
    theirs_.reset();
    reader.join();
    writer.join();
    EXPECT_EQ(write->code, Errc::disconnected) << write->text();
    if (GetParam().loud_destruction == LoudDestruction::is_a_cut) {
      ASSERT_FALSE(*read) << "a cut line read as a finish";
      EXPECT_EQ(read->error().code, Errc::disconnected) << read->error().text();
    }
    connect_again();
  }
}

TEST_P(ChannelConformance, WritingToADestroyedPeerFails) {
  theirs_.reset();
  EXPECT_EQ(write_until_failure(*ours_).code, Errc::disconnected);
}

TEST_P(ChannelConformance, TheFirstFailureIsFinal) {
  ASSERT_TRUE(write_all(*ours_, "never read"));
  theirs_.reset();
  const std::string first_read = text_of(read_once(*ours_));
  const std::string first_write = write_until_failure(*ours_).text();
  EXPECT_FALSE(first_read.ends_with("timed out"));
  ours_->cancel(Errc::timed_out);
  if (GetParam().loud_destruction == LoudDestruction::is_a_cut) {
    EXPECT_EQ(text_of(read_once(*ours_)), first_read);
  }
  EXPECT_EQ(text_of(write_all(*ours_, "x")), first_write);
  EXPECT_EQ(text_of(ours_->flush()), first_write);
  EXPECT_EQ(text_of(ours_->finish()), first_write);
}

TEST_P(ChannelConformance, AFailureNamesTheActAndThePeer) {
  ours_->cancel();
  const std::string read = text_of(read_once(*ours_));
  const std::string write = text_of(write_all(*ours_, "x"));
  EXPECT_TRUE(read.starts_with("read")) << read;
  EXPECT_TRUE(write.starts_with("write")) << write;
  EXPECT_TRUE(read.contains(ours_->info().peer)) << read;
  EXPECT_TRUE(write.contains(ours_->info().peer)) << write;
  EXPECT_TRUE(read.ends_with("cancelled")) << read;
}

TEST_P(ChannelConformance, TheInfoSaysWhatItIs) {
  for (const Channel* end : {ours_.get(), theirs_.get()}) {
    EXPECT_FALSE(end->info().scheme.empty());
    EXPECT_FALSE(end->info().peer.empty());
    EXPECT_EQ(end->info().encrypted, !end->info().cipher.empty());
    EXPECT_EQ(end->info().encrypted, GetParam().name.contains("Tls"));
  }
}

}  // namespace
}  // namespace ferry::test
