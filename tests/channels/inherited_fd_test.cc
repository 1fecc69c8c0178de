// Sockets and pipes that somebody else opened.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

#include "channels/inherited_fd.h"
#include "channels/pipe_channel.h"
#include "tests/channels/io.h"
#include "tests/channels/loop_thread.h"

namespace ferry::test {
namespace {

using testing::HasSubstr;

class InheritedFd : public testing::Test {
 protected:
  Result<std::unique_ptr<Channel>> connect(int fd) {
    const Uri uri = Uri::parse("fd:" + std::to_string(fd)).value();
    return runner_.run(transport_->connect(runner_.loop(), uri));
  }
  Result<std::unique_ptr<Listener>> listen(int fd) {
    const Uri uri = Uri::parse("fd:" + std::to_string(fd)).value();
    return runner_.run(transport_->listen(runner_.loop(), uri));
  }
  static std::pair<UniqueFd, UniqueFd> socket_pair() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
  }

  LoopThread runner_;
  std::unique_ptr<Transport> transport_ = make_fd_transport();
};

TEST_F(InheritedFd, AConnectedSocketIsAChannelWhoseFlagsStayAsTheyWere) {
  auto [ours, theirs] = socket_pair();
  const UniqueFd shared(::dup(ours.get()));
  const int fd = ours.release();
  const auto channel = connect(fd);
  ASSERT_TRUE(channel) << text_of(channel);
  ASSERT_TRUE(write_all(**channel, "hello"));
  char said[5];
  EXPECT_EQ(::read(theirs.get(), said, 5), 5);
  EXPECT_EQ(::fcntl(shared.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(transport_->lines(), Lines::one);
}

TEST_F(InheritedFd, AConnectedSocketHasItsOnePeerAlready) {
  auto [ours, theirs] = socket_pair();
  const auto listener = listen(ours.release());
  ASSERT_TRUE(listener) << text_of(listener);
  EXPECT_EQ((*listener)->lines(), Lines::one);
  const auto channel = runner_.run((*listener)->accept());
  ASSERT_TRUE(channel) << text_of(channel);
  ASSERT_EQ(::write(theirs.get(), "there", 5), 5);
  EXPECT_EQ(read_all(**channel, 5), "there");
  EXPECT_EQ(code_of(runner_.run((*listener)->accept())), Errc::usage);
}

TEST_F(InheritedFd, OneThatIsNonBlockingAlreadyIsWaitedFor) {
  auto [ours, theirs] = socket_pair();
  ASSERT_EQ(::fcntl(ours.get(), F_SETFL, O_NONBLOCK), 0);
  const auto channel = connect(ours.release());
  ASSERT_TRUE(channel) << text_of(channel);
  std::optional<Result<std::string>> got;
  BlockedThread reader([&] { got = read_once(**channel); });
  reader.wait_until_asleep();
  ASSERT_EQ(::write(theirs.get(), "late", 4), 4);
  reader.join();
  EXPECT_EQ(*got, "late");
}

TEST_F(InheritedFd, WhatIsNoConnectedStreamSocketIsAUsageError) {
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  const UniqueFd in(pipe_ends[0]);
  const UniqueFd out(pipe_ends[1]);
  EXPECT_EQ(code_of(connect(in.get())), Errc::usage);
  EXPECT_THAT(text_of(connect(in.get())), HasSubstr("not a stream socket"));
  EXPECT_THAT(text_of(connect(1)), HasSubstr("write stdio:"));
  EXPECT_EQ(code_of(connect(987'654)), Errc::usage);
  EXPECT_GE(::fcntl(in.get(), F_GETFD), 0) << "what was refused stays the caller's";
  UniqueFd fresh(::socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_THAT(text_of(connect(fresh.release())), HasSubstr("not connected"));
}

TEST(PipeChannel, TheFlagsOfItsDescriptorsStayAsTheyWere) {
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  const UniqueFd in(::dup(pipe_ends[0]));
  const UniqueFd out(::dup(pipe_ends[1]));
  const auto loop = PipeChannel::create(UniqueFd(pipe_ends[0]), UniqueFd(pipe_ends[1]),
                                        {.scheme = "stdio", .local = {}, .peer = "itself"});
  ASSERT_TRUE(loop) << text_of(loop);
  ASSERT_TRUE(write_all(**loop, "round"));
  EXPECT_EQ(read_all(**loop, 5), "round");
  EXPECT_EQ(::fcntl(in.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(out.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(PipeChannel, ABrokenPipeIsAnErrorAndNoSignal) {
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  ::close(pipe_ends[0]);
  const UniqueFd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const auto channel = PipeChannel::create(UniqueFd(::dup(nothing.get())), UniqueFd(pipe_ends[1]),
                                           {.scheme = "stdio", .local = {}, .peer = "nobody"});
  ASSERT_TRUE(channel) << text_of(channel);
  EXPECT_EQ(code_of(write_all(**channel, "x")), Errc::disconnected);
  sigset_t pending;
  ::sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
}

}  // namespace
}  // namespace ferry::test
