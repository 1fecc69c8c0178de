// Memory on loan to the kernel, over loopback, where it copies in the end: what is tried here is
// the account that is kept of it.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>

#include "channels/socket_channel.h"
#include "tests/channels/io.h"

namespace ferry::test {
namespace {

class ZeroCopyTest : public testing::Test {
 protected:
  /// A line over loopback, whose reader holds `receive_buffer` bytes or what the kernel allows.
  void connect(int receive_buffer) {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ::setsockopt(listener.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    ASSERT_EQ(::bind(listener.get(), any, length), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    ASSERT_EQ(::getsockname(listener.get(), any, &length), 0);
    UniqueFd out(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(out.get(), any, length), 0);
    UniqueFd in(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(in);
    const int yes = 1;
    if (::setsockopt(out.get(), SOL_SOCKET, SO_ZEROCOPY, &yes, sizeof yes) != 0) {
      GTEST_SKIP() << "this kernel has no MSG_ZEROCOPY";
    }
    const ChannelInfo info{.scheme = "tcp", .local = "a test", .peer = "a test"};
    ours_ = std::make_unique<SocketChannel>(std::move(out), info);
    theirs_ = std::make_unique<SocketChannel>(std::move(in), info);
  }

  Result<void> lend(std::string_view data) {
    const auto pieces = pieces_of(data, data.size());
    return ours_->write(pieces, Loan::until_flush);
  }
  /// Lends a message, reads it at the other end, and gets it back.
  void lend_and_read(const std::string& data) {
    ASSERT_TRUE(lend(data));
    EXPECT_TRUE(read_all(*theirs_, data.size()) == data);
    ASSERT_TRUE(ours_->flush());
  }
  std::uint64_t fallbacks() { return ours_->facets().zero_copy->zero_copy_fallbacks(); }

  std::unique_ptr<Channel> ours_;
  std::unique_ptr<Channel> theirs_;
};

constexpr int k_plenty = 4 << 20;

TEST_F(ZeroCopyTest, IsSwitchedOffWhenTheKernelCopiesAnyway) {
  connect(k_plenty);
  if (IsSkipped()) return;
  const std::string data = noise(100'000, 1);
  lend_and_read(data);
  EXPECT_EQ(fallbacks(), 1u) << "loopback copies, and says so";
  lend_and_read(data);
  EXPECT_EQ(fallbacks(), 1u) << "it was not asked again";
}

TEST_F(ZeroCopyTest, GoesOnWhenToldTo) {
  connect(k_plenty);
  if (IsSkipped()) return;
  ours_->facets().zero_copy->insist();
  const std::string data = noise(100'000, 2);
  for (unsigned i = 1; i <= 3; ++i) {
    lend_and_read(data);
    EXPECT_EQ(fallbacks(), i);
  }
}

TEST_F(ZeroCopyTest, IsNotAskedForAWriteWithoutALoan) {
  connect(k_plenty);
  if (IsSkipped()) return;
  ours_->facets().zero_copy->insist();
  const std::string data = noise(100'000, 3);
  ASSERT_TRUE(write_all(*ours_, data));
  EXPECT_TRUE(read_all(*theirs_, data.size()) == data);
  ASSERT_TRUE(ours_->flush());
  EXPECT_EQ(fallbacks(), 0u);
}

TEST_F(ZeroCopyTest, CancelWakesAFlushThatWaitsForThePeer) {
  connect(2048);
  if (IsSkipped()) return;
  const std::string data = noise(200'000, 4);  // stays in our send buffer: the peer has no room
  ASSERT_TRUE(lend(data));
  std::optional<Result<void>> flushed;
  BlockedThread flusher([&] { flushed = ours_->flush(); });
  flusher.wait_until_asleep();
  ours_->cancel(Errc::timed_out);
  flusher.join();
  EXPECT_EQ(code_of(*flushed), Errc::timed_out);
}

TEST_F(ZeroCopyTest, AFlushEndsWhenThePeerIsGone) {
  connect(2048);
  if (IsSkipped()) return;
  const std::string data = noise(200'000, 5);
  ASSERT_TRUE(lend(data));
  std::optional<Result<void>> flushed;
  BlockedThread flusher([&] { flushed = ours_->flush(); });
  flusher.wait_until_asleep();
  theirs_.reset();  // a reset
  flusher.join();
  EXPECT_EQ(code_of(write_all(*ours_, "more")), Errc::disconnected);
}

TEST_F(ZeroCopyTest, ALoanOnAUnixSocketIsCopied) {
  auto [ours, theirs] = make_socket_pair().value();
  ours_ = std::move(ours);
  theirs_ = std::move(theirs);
  lend_and_read(noise(100'000, 6));
  EXPECT_EQ(ours_->facets().zero_copy, nullptr) << "nothing could be asked of the kernel";
}

}  // namespace
}  // namespace ferry::test
