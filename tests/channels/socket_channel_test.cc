#include "channels/socket_channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "tests/channels/io.h"

namespace ferry::test {
namespace {

/// A channel over a descriptor that somebody made non-blocking before it came to us.
class InheritedSocket : public testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> fds{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
    fd_ = fds[0];
    ASSERT_EQ(::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) | O_NONBLOCK), 0);
    flags_ = ::fcntl(fd_, F_GETFL);
    const ChannelInfo info{.scheme = "fd", .local = "fd", .peer = "a test"};
    ours_ = std::make_unique<SocketChannel>(UniqueFd(fds[0]), info);
    theirs_ = std::make_unique<SocketChannel>(UniqueFd(fds[1]), info);
  }

  int fd_ = -1;
  int flags_ = 0;
  std::unique_ptr<Channel> ours_;
  std::unique_ptr<Channel> theirs_;
};

TEST_F(InheritedSocket, BlocksThoughItsDescriptorDoesNot) {
  std::optional<Result<std::string>> read;
  BlockedThread reader([&] { read = read_once(*ours_); });
  reader.wait_until_asleep();
  ASSERT_TRUE(write_all(*theirs_, "late"));
  reader.join();
  EXPECT_EQ(*read, "late");

  const std::string more_than_it_holds = noise(4 << 20, 8);
  std::optional<Result<void>> written;
  BlockedThread writer([&] { written = write_all(*ours_, more_than_it_holds); });
  writer.wait_until_asleep();
  const auto got = read_all(*theirs_, more_than_it_holds.size());
  writer.join();
  EXPECT_TRUE(*written);
  EXPECT_TRUE(got && *got == more_than_it_holds);
}

TEST_F(InheritedSocket, IsWokenByCancel) {
  std::optional<Result<std::string>> read;
  std::optional<Error> write;
  BlockedThread reader([&] { read = read_once(*ours_); });
  BlockedThread writer([&] { write = write_until_failure(*ours_); });
  reader.wait_until_asleep();
  writer.wait_until_asleep();
  ours_->cancel(Errc::timed_out);
  reader.join();
  writer.join();
  EXPECT_EQ(code_of(*read), Errc::timed_out);
  EXPECT_EQ(write->code, Errc::timed_out);
}

TEST_F(InheritedSocket, KeepsItsFlags) {
  ASSERT_TRUE(write_all(*ours_, "x"));
  ASSERT_TRUE(read_once(*theirs_));
  ASSERT_TRUE(write_all(*theirs_, "x"));
  ASSERT_TRUE(read_once(*ours_));
  ASSERT_TRUE(ours_->finish());
  EXPECT_EQ(::fcntl(fd_, F_GETFL), flags_);
}

TEST(SocketPair, IsClosedOnExec) {
  const auto [ours, theirs] = make_socket_pair().value();
  for (Channel* end : {ours.get(), theirs.get()}) {
    EXPECT_EQ(::fcntl(end->facets().pollable->fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  }
}

}  // namespace
}  // namespace ferry::test
