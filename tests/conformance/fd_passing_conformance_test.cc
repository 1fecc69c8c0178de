// What every channel with an FdPassing facet promises.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/channels/io.h"
#include "tests/channels/loop_thread.h"
#include "tests/channels/raw_socket.h"
#include "tests/channels/test_fd.h"
#include "tests/conformance/channel_kinds.h"

namespace ferry::test {
namespace {

using Received = FdPassing::Received;
using ReceivedStep = FdPassing::ReceivedStep;

class FdPassingConformance : public testing::TestWithParam<ChannelKind> {
 protected:
  void SetUp() override {
    Result<Ends> ends = GetParam().connect(runner_);
    ASSERT_TRUE(ends) << ends.error().text();
    ours_ = std::move(ends->ours);
    theirs_ = std::move(ends->theirs);
    sender_ = ours_->facets().fd_passing;
    receiver_ = theirs_->facets().fd_passing;
    ASSERT_NE(sender_, nullptr);
    ASSERT_NE(receiver_, nullptr);
  }

  Result<void> send(std::string_view data, const std::vector<TestFd>& fds) {
    const iovec piece{const_cast<char*>(data.data()), data.size()};
    return sender_->write_with_fds({&piece, 1}, numbers_of(fds));
  }
  Result<Received> receive(std::size_t room) {
    text_.assign(room, '\0');
    const iovec piece{text_.data(), text_.size()};
    Received received = FERRY_TRY(receiver_->read_some_with_fds({&piece, 1}));
    text_.resize(received.bytes);
    return received;
  }

  LoopThread runner_;
  std::unique_ptr<Channel> ours_;
  std::unique_ptr<Channel> theirs_;
  FdPassing* sender_ = nullptr;
  FdPassing* receiver_ = nullptr;
  std::string text_;  // the bytes that receive() got
};

INSTANTIATE_TEST_SUITE_P(Every, FdPassingConformance,
                         testing::ValuesIn(every_channel_that_passes_fds()),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(FdPassingConformance, DescriptorsComeInOrderWithTheFirstByte) {
  const std::vector<TestFd> fds(3);
  ASSERT_TRUE(send("abc", fds));
  const auto first = receive(1);
  ASSERT_TRUE(first) << text_of(first);
  EXPECT_EQ(text_, "a");
  EXPECT_TRUE(are(first->fds, fds));
  const auto rest = receive(10);
  ASSERT_TRUE(rest) << text_of(rest);
  EXPECT_EQ(text_, "bc");
  EXPECT_TRUE(rest->fds.empty());
}

TEST_P(FdPassingConformance, TheyAreClosedOnExec) {
  const std::vector<TestFd> fds(2);
  ASSERT_TRUE(send("a", fds));
  const auto received = receive(1);
  ASSERT_TRUE(received) << text_of(received);
  for (const UniqueFd& fd : received->fds) {
    EXPECT_EQ(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  }
}

TEST_P(FdPassingConformance, TheSenderKeepsItsOwn) {
  std::vector<TestFd> fds(1);
  ASSERT_TRUE(send("a", fds));
  EXPECT_GE(::fcntl(fds[0].get(), F_GETFD), 0);
  fds[0].close();
  EXPECT_FALSE(fds[0].is_closed()) << "there is one under way";
  auto received = receive(1);
  ASSERT_TRUE(received) << text_of(received);
  EXPECT_FALSE(fds[0].is_closed());
  received->fds.clear();
  EXPECT_TRUE(fds[0].is_closed());
}

TEST_P(FdPassingConformance, AReadTakesThoseOfOneWriteAtMost) {
  std::vector<std::vector<TestFd>> fds(3);
  for (auto& some : fds) some = std::vector<TestFd>(2);
  for (const auto& some : fds) ASSERT_TRUE(send("ab", some));
  for (const auto& some : fds) {
    const auto received = receive(100);
    ASSERT_TRUE(received) << text_of(received);
    EXPECT_EQ(text_, "ab");
    EXPECT_TRUE(are(received->fds, some));
  }
}

TEST_P(FdPassingConformance, BytesBeforeThemAreReadWithoutThem) {
  const std::vector<TestFd> fds(1);
  ASSERT_TRUE(write_all(*ours_, "before"));
  ASSERT_TRUE(send("with", fds));
  const auto before = receive(6);
  ASSERT_TRUE(before) << text_of(before);
  EXPECT_EQ(text_, "before");
  EXPECT_TRUE(before->fds.empty());
  const auto with = receive(4);
  ASSERT_TRUE(with) << text_of(with);
  EXPECT_TRUE(are(with->fds, fds));
}

TEST_P(FdPassingConformance, AsManyAsMayGoWithOneWriteGo) {
  const std::vector<TestFd> fds(FdPassing::k_most);
  ASSERT_TRUE(send("a", fds));
  const auto received = receive(1);
  ASSERT_TRUE(received) << text_of(received);
  EXPECT_TRUE(are(received->fds, fds));
}

TEST_P(FdPassingConformance, OneMoreIsAUsageErrorAndDoesNoHarm) {
  const std::vector<TestFd> fds(FdPassing::k_most + 1);
  EXPECT_EQ(code_of(send("a", fds)), Errc::usage);
  const iovec piece{const_cast<char*>("a"), 1};
  EXPECT_EQ(code_of(sender_->try_write_some_with_fds({&piece, 1}, numbers_of(fds))), Errc::usage);
  ASSERT_TRUE(write_all(*ours_, "fine"));
  EXPECT_EQ(read_all(*theirs_, 4), "fine");
}

TEST_P(FdPassingConformance, DescriptorsWithoutAByteAreAUsageError) {
  const std::vector<TestFd> fds(1);
  EXPECT_EQ(code_of(send("", fds)), Errc::usage);
  EXPECT_TRUE(send("", {}));
  ASSERT_TRUE(write_all(*ours_, "fine"));
  EXPECT_EQ(read_all(*theirs_, 4), "fine");
}

TEST_P(FdPassingConformance, ThoseThatNobodyAsksForAreClosed) {
  std::vector<TestFd> fds(2);
  ASSERT_TRUE(send("abc", fds));
  for (TestFd& fd : fds) fd.close();
  const std::size_t before = open_descriptors();
  EXPECT_EQ(read_all(*theirs_, 3), "abc") << "the bytes are sound all the same";
  EXPECT_EQ(open_descriptors(), before);
  for (const TestFd& fd : fds) EXPECT_TRUE(fd.is_closed());
}

TEST_P(FdPassingConformance, ThoseThatAreUnderWayWhenTheLineEndsAreClosed) {
  std::vector<TestFd> fds(2);
  ASSERT_TRUE(send("abc", fds));
  for (TestFd& fd : fds) fd.close();
  theirs_.reset();
  ours_.reset();
  for (const TestFd& fd : fds) EXPECT_TRUE(fd.is_closed());
}

TEST_P(FdPassingConformance, AReadOfNothingSaysWhatToWaitFor) {
  std::string room(10, '\0');
  const iovec piece{room.data(), room.size()};
  const auto received = receiver_->try_read_some_with_fds({&piece, 1});
  ASSERT_TRUE(received) << text_of(received);
  EXPECT_EQ(received->step.bytes, 0u);
  EXPECT_EQ(received->step.wait_for, Interest::read);
  EXPECT_TRUE(received->fds.empty());
}

TEST_P(FdPassingConformance, ABlockedReadIsWokenByDescriptorsByFinishAndByCancel) {
  const std::vector<TestFd> fds(1);
  std::optional<Result<Received>> received;
  const auto receive_by = [&](const std::function<void()>& wake) {
    BlockedThread reader([&] { received = receive(10); });
    reader.wait_until_asleep();
    wake();
    reader.join();
  };
  receive_by([&] { ASSERT_TRUE(send("a", fds)); });
  ASSERT_TRUE(*received) << text_of(*received);
  EXPECT_TRUE(are((**received).fds, fds));
  receive_by([&] { ASSERT_TRUE(ours_->finish()); });
  ASSERT_TRUE(*received) << text_of(*received);
  EXPECT_EQ((**received).bytes, 0u);
  theirs_->cancel(Errc::timed_out);
  EXPECT_EQ(code_of(receive(10)), Errc::timed_out);
}

TEST_P(FdPassingConformance, AWriteOfManyPartsSendsThemOnce) {
  // More than the line holds: the kernel takes it in parts.
  const std::vector<TestFd> fds(5);
  const std::string sent = noise(GetParam().a_lot, 6);
  std::jthread writer([&] { ASSERT_TRUE(send(sent, fds)); });
  std::string got;
  std::vector<UniqueFd> all;
  while (got.size() < sent.size()) {
    auto received = receive(100'000);
    ASSERT_TRUE(received) << text_of(received);
    ASSERT_GT(received->bytes, 0u);
    if (got.empty()) {
      EXPECT_EQ(received->fds.size(), fds.size());
    }
    got += text_;
    std::ranges::move(received->fds, std::back_inserter(all));
  }
  EXPECT_TRUE(got == sent);
  EXPECT_TRUE(are(all, fds));
}

TEST_P(FdPassingConformance, AWriteThatFindsNoRoomHasSentNone) {
  const std::vector<TestFd> fds(1);
  const std::string chunk(64 * 1024, 'x');
  const iovec piece{const_cast<char*>(chunk.data()), chunk.size()};
  std::size_t filled = 0;
  for (;;) {
    const auto step = ours_->facets().pollable->try_write_some({&piece, 1});
    ASSERT_TRUE(step) << text_of(step);
    if (step->bytes == 0) break;
    filled += step->bytes;
  }
  const auto step = sender_->try_write_some_with_fds({&piece, 1}, numbers_of(fds));
  ASSERT_TRUE(step) << text_of(step);
  EXPECT_EQ(step->bytes, 0u);
  EXPECT_EQ(step->wait_for, Interest::write);
  while (filled > 0) {
    const auto received = receive(std::min<std::size_t>(filled, 65536));
    ASSERT_TRUE(received) << text_of(received);
    EXPECT_TRUE(received->fds.empty());
    filled -= received->bytes;
  }
  ASSERT_TRUE(send("now", fds));
  const auto received = receive(3);
  ASSERT_TRUE(received) << text_of(received);
  EXPECT_TRUE(are(received->fds, fds));
}

}  // namespace
}  // namespace ferry::test
