// Descriptors beside bytes: a protocol of frames whose headers bring them, from blocking calls and
// from Tasks; and what goes wrong.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "channels/socket_channel.h"
#include "loop/async_io.h"
#include "tests/channels/io.h"
#include "tests/channels/loop_thread.h"
#include "tests/channels/raw_socket.h"
#include "tests/channels/test_fd.h"
#include "tests/descriptor_limit.h"

namespace ferry::test {
namespace {

using PassingEnds = std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>>;

// The frames are those of vhost-user: a header of fixed length, which the descriptors come with,
// and then as many bytes as it says.

struct Header {
  std::uint32_t request = 0;
  std::uint32_t fds = 0;
  std::uint32_t payload_bytes = 0;
};

struct Frame {
  Header header;
  std::vector<UniqueFd> fds;
  std::string payload;
};

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> bytes_of(const Header& header) {
  const auto bytes = std::as_bytes(std::span(&header, 1));
  return {bytes.begin(), bytes.end()};
}

Task<void> send_frame(EventLoop& loop, Channel& channel, Frame frame) {
  co_await write_all_with_fds(loop, channel, bytes_of(frame.header), std::move(frame.fds));
  co_await ferry::write_all(loop, channel, bytes_of(frame.payload));
}

Task<Frame> receive_frame(EventLoop& loop, Channel& channel) {
  Frame frame;
  std::span<std::byte> header = std::as_writable_bytes(std::span(&frame.header, 1));
  frame.fds = co_await read_exactly_with_fds(loop, channel, header);
  frame.payload.resize(frame.header.payload_bytes);
  std::span<std::byte> payload = std::as_writable_bytes(std::span(frame.payload));
  co_await read_exactly(loop, channel, payload);
  co_return std::move(frame);
}

Result<void> send_frame_blocking(Channel& channel, const Frame& frame) {
  std::vector<int> fds;
  for (const UniqueFd& fd : frame.fds) fds.push_back(fd.get());
  const iovec pieces[] = {{const_cast<Header*>(&frame.header), sizeof frame.header},
                          {const_cast<char*>(frame.payload.data()), frame.payload.size()}};
  return channel.facets().fd_passing->write_with_fds(pieces, fds);
}

Result<Frame> receive_frame_blocking(Channel& channel) {
  Frame frame;
  auto* const at = reinterpret_cast<char*>(&frame.header);
  for (std::size_t got = 0; got < sizeof frame.header;) {
    const iovec rest{at + got, sizeof frame.header - got};
    FdPassing::Received some =
        FERRY_TRY(channel.facets().fd_passing->read_some_with_fds({&rest, 1}));
    if (some.bytes == 0) return fail(Errc::disconnected, "the end");
    got += some.bytes;
    for (UniqueFd& fd : some.fds) frame.fds.push_back(std::move(fd));
  }
  frame.payload = FERRY_TRY(read_all(channel, frame.header.payload_bytes));
  return frame;
}

/// Frames of every kind: with and without descriptors, with and without a payload, longer than the
/// line holds. `fds` keeps what goes into them.
class Conversation {
 public:
  Conversation() {
    std::mt19937 random(7);
    for (std::uint32_t i = 0; i < k_frames; ++i) {
      std::vector<TestFd>& fds = fds_.emplace_back(random() % 3 == 0 ? 0 : random() % 9);
      const std::uint32_t most = i % 50 == 0 ? 1 << 20 : 3000;
      Frame& frame = frames_.emplace_back();
      frame.payload = noise(random() % most, i);
      frame.header = {i, static_cast<std::uint32_t>(fds.size()),
                      static_cast<std::uint32_t>(frame.payload.size())};
      if (random() % 4 == 0) frame.payload.clear();
      frame.header.payload_bytes = static_cast<std::uint32_t>(frame.payload.size());
      for (TestFd& fd : fds) frame.fds.push_back(fd.give());
    }
  }

  std::vector<Frame>& frames() { return frames_; }

  void expect_is(std::size_t i, const Frame& got, const std::string& payload) const {
    ASSERT_EQ(got.header.request, i);
    ASSERT_TRUE(are(got.fds, fds_[i])) << got.fds.size() << " of " << fds_[i].size();
    ASSERT_TRUE(got.payload == payload);
  }
  std::vector<std::string> payloads() const {
    std::vector<std::string> all;
    for (const Frame& frame : frames_) all.push_back(frame.payload);
    return all;
  }
  void expect_all_closed() const {
    for (const auto& fds : fds_) {
      for (const TestFd& fd : fds) ASSERT_TRUE(fd.is_closed());
    }
  }

 private:
  static constexpr std::uint32_t k_frames = 200;
  std::vector<std::vector<TestFd>> fds_;
  std::vector<Frame> frames_;
};

TEST(FramesWithDescriptors, PassBetweenTasks) {
  LoopThread runner;
  LoopThread other;
  PassingEnds ends = make_socket_pair().value();
  Conversation conversation;
  const std::vector<std::string> payloads = conversation.payloads();
  std::jthread sender([&] {
    for (Frame& frame : conversation.frames()) {
      const auto sent = other.run(send_frame(other.loop(), *ends.first, std::move(frame)));
      ASSERT_TRUE(sent) << text_of(sent);
    }
  });
  for (std::size_t i = 0; i < payloads.size(); ++i) {
    const auto got = runner.run(receive_frame(runner.loop(), *ends.second));
    ASSERT_TRUE(got) << text_of(got);
    conversation.expect_is(i, *got, payloads[i]);
  }
  sender.join();
  conversation.expect_all_closed();
}

TEST(FramesWithDescriptors, PassBetweenBlockingCallsAndTasks) {
  LoopThread runner;
  PassingEnds ends = make_socket_pair().value();
  Conversation conversation;
  const std::vector<std::string> payloads = conversation.payloads();
  std::jthread sender([&] {
    for (Frame& frame : conversation.frames()) {
      const auto sent = send_frame_blocking(*ends.first, frame);
      ASSERT_TRUE(sent) << text_of(sent);
      frame.fds.clear();
    }
  });
  for (std::size_t i = 0; i < payloads.size(); ++i) {
    const auto got = i % 2 == 0 ? runner.run(receive_frame(runner.loop(), *ends.second))
                                : receive_frame_blocking(*ends.second);
    ASSERT_TRUE(got) << text_of(got);
    conversation.expect_is(i, *got, payloads[i]);
  }
  sender.join();
  conversation.expect_all_closed();
}

TEST(FramesWithDescriptors, ADroppedTaskClosesWhatHasComeAndWhatWasToGo) {
  auto loop = EventLoop::create().value();
  PassingEnds ends = make_socket_pair().value();
  TestFd came;
  TestFd to_go;
  std::vector<UniqueFd> first;
  first.push_back(came.give());
  const std::string half_a_header = "123456";
  const iovec piece{const_cast<char*>(half_a_header.data()), half_a_header.size()};
  const std::vector<int> numbers{first.front().get()};
  ASSERT_TRUE(ends.first->facets().fd_passing->write_with_fds({&piece, 1}, numbers));
  first.clear();
  ASSERT_FALSE(came.is_closed());

  std::vector<UniqueFd> second;
  second.push_back(to_go.give());
  Header header;
  const std::size_t before = open_descriptors();
  loop->spawn([](EventLoop& on, Channel& channel, std::span<std::byte> into) -> Task<void> {
    std::vector<UniqueFd> fds = co_await read_exactly_with_fds(on, channel, into);
  }(*loop, *ends.second, std::as_writable_bytes(std::span(&header, 1))));
  // It waits for room in a line that nobody reads.
  std::vector<std::byte> more_than_it_holds(8 << 20);
  loop->spawn(
      write_all_with_fds(*loop, *ends.second, std::move(more_than_it_holds), std::move(second)));
  loop->post([&] { loop->stop(); });
  loop->run();
  EXPECT_EQ(open_descriptors(), before + 1) << "the one that came";
  loop.reset();
  EXPECT_TRUE(came.is_closed());
  ends = {};
  EXPECT_TRUE(to_go.is_closed());
}

TEST(FramesWithDescriptors, MoreOfThemThanOneMessageMayHaveAreTheSendersFault) {
  LoopThread runner;
  PassingEnds ends = make_socket_pair().value();
  std::vector<TestFd> fds(FdPassing::k_most);
  const std::string byte = "x";
  const iovec piece{const_cast<char*>(byte.data()), 1};
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(ends.first->facets().fd_passing->write_with_fds({&piece, 1}, numbers_of(fds)));
  }
  for (TestFd& fd : fds) fd.close();
  std::vector<std::byte> into(2);
  const auto got =
      runner.run(read_exactly_with_fds(runner.loop(), *ends.second, std::span<std::byte>(into)));
  EXPECT_EQ(code_of(got), Errc::protocol);
  for (const TestFd& fd : fds) EXPECT_TRUE(fd.is_closed());
}

TEST(FdPassing, IsNotThereOnTcp) {
  const UniqueFd listener = raw_listener(1);
  SocketChannel channel(raw_connection(local_address(listener.get())),
                        {.scheme = "tcp", .local = {}, .peer = "a test"});
  EXPECT_EQ(channel.facets().fd_passing, nullptr);
}

TEST(FdPassing, ThoseThatTheProcessHasNoRoomForAreAnErrorAndNoneIsLeftOpen) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "GCC's undefined-behaviour sanitizer needs descriptors of its own";
#endif
  PassingEnds ends = make_socket_pair().value();
  std::vector<TestFd> fds(8);
  const std::string data = "data";
  const iovec from{const_cast<char*>(data.data()), data.size()};
  ASSERT_TRUE(ends.first->facets().fd_passing->write_with_fds({&from, 1}, numbers_of(fds)));
  const std::size_t before = open_descriptors();
  std::string room(10, '\0');
  const iovec into{room.data(), room.size()};
  std::optional<Result<FdPassing::Received>> got;
  {
    const DescriptorLimit shortage = descriptors_left(3);
    got = ends.second->facets().fd_passing->read_some_with_fds({&into, 1});
  }
  EXPECT_EQ(code_of(*got), Errc::system);
  EXPECT_EQ(text_of(*got),
            "read from a socket pair: descriptors came that could not be taken "
            "(has the process too many open? see ulimit -n)");
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(text_of(read_once(*ends.second)), text_of(*got)) << "the first failure is final";
}

}  // namespace
}  // namespace ferry::test
