#include "channels/unix.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <utility>

#include "ferry/uri.h"
#include "loop/socket_address.h"
#include "tests/channels/io.h"
#include "tests/channels/loop_thread.h"
#include "tests/channels/raw_socket.h"

namespace ferry::test {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

Uri unix_uri(const std::string& path) {
  Uri uri;
  uri.scheme = "unix";
  uri.path = path;
  return uri;
}

/// A socket bound to the path and listening, whose file nobody will remove.
UniqueFd raw_unix_listener(const std::string& path, int backlog) {
  const SocketAddress address = unix_address(path, "test").value();
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(fd.get(), address.get(), address.length) != 0) return UniqueFd();
  if (::listen(fd.get(), backlog) != 0) return UniqueFd();
  return fd;
}

class Unix : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "ferry-unix-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = pattern + "/socket";
  }
  void TearDown() override { fs::remove_all(folder_); }

  Result<std::unique_ptr<Listener>> listen(const std::string& path) {
    return runner_.run(transport_->listen(runner_.loop(), unix_uri(path)));
  }
  Result<std::unique_ptr<Channel>> connect(const std::string& path) {
    return runner_.run(transport_->connect(runner_.loop(), unix_uri(path)));
  }
  /// Connects, accepts, and passes a message.
  void expect_reachable(Listener& listener, const std::string& path) {
    const auto ours = connect(path);
    ASSERT_TRUE(ours) << text_of(ours);
    const auto theirs = runner_.run(listener.accept());
    ASSERT_TRUE(theirs) << text_of(theirs);
    ASSERT_TRUE(write_all(**ours, "here"));
    EXPECT_EQ(read_all(**theirs, 4), "here");
  }

  fs::path folder_;
  std::string path_;
  std::unique_ptr<Transport> transport_ = make_unix_transport();
  LoopThread runner_;
};

TEST_F(Unix, APathIsThereWhileItsListenerLives) {
  auto listener = listen(path_);
  ASSERT_TRUE(listener) << text_of(listener);
  EXPECT_TRUE(fs::is_socket(path_));
  expect_reachable(**listener, path_);
  listener->reset();
  EXPECT_FALSE(fs::exists(fs::symlink_status(path_)));
}

TEST_F(Unix, ALocalUriWorksVerbatim) {
  for (const std::string& path : {path_, "@ferry test" + folder_.filename().string()}) {
    const auto listener = listen(path);
    ASSERT_TRUE(listener) << text_of(listener);
    const auto typed = Uri::parse((*listener)->local().text());
    ASSERT_TRUE(typed) << text_of(typed);
    EXPECT_EQ(typed->path, path);
    expect_reachable(**listener, typed->path);
  }
}

TEST_F(Unix, AnAbstractNameHasNoFile) {
  const std::string name = "@" + path_;
  {
    const auto listener = listen(name);
    ASSERT_TRUE(listener) << text_of(listener);
    EXPECT_TRUE(fs::is_empty(folder_));
    EXPECT_EQ(text_of(listen(name)).substr(0, 10), "listen on ");
  }
  EXPECT_TRUE(listen(name));  // free again
}

TEST_F(Unix, AStaleSocketIsReplaced) {
  ASSERT_TRUE(raw_unix_listener(path_, 1));  // closed at once; its file stays
  ASSERT_TRUE(fs::is_socket(path_));
  const auto listener = listen(path_);
  ASSERT_TRUE(listener) << text_of(listener);
  expect_reachable(**listener, path_);
}

TEST_F(Unix, ALiveSocketIsAnError) {
  const auto first = listen(path_);
  ASSERT_TRUE(first);
  const auto second = listen(path_);
  EXPECT_EQ(code_of(second), Errc::unreachable);
  const std::string start = "listen on unix://" + path_ + ": address already in use";
  EXPECT_TRUE(text_of(second).starts_with(start)) << text_of(second);
  expect_reachable(**first, path_);
}

TEST_F(Unix, ALiveSocketWithAFullBacklogIsAnErrorToo) {
  const UniqueFd live = raw_unix_listener(path_, 0);
  const UniqueFd waiting = raw_connection(unix_address(path_, "test").value());
  ASSERT_TRUE(live && waiting);
  EXPECT_EQ(code_of(listen(path_)), Errc::unreachable);
  EXPECT_TRUE(fs::is_socket(path_));
}

TEST_F(Unix, AnotherKindOfFileIsKept) {
  std::ofstream(path_) << "precious";
  EXPECT_EQ(code_of(listen(path_)), Errc::unreachable);
  EXPECT_EQ(fs::file_size(path_), 8u);
}

TEST_F(Unix, ASymbolicLinkToAStaleSocketIsKept) {
  const std::string target = path_ + ".target";
  ASSERT_TRUE(raw_unix_listener(target, 1));
  fs::create_symlink(target, path_);
  EXPECT_EQ(code_of(listen(path_)), Errc::unreachable);
  EXPECT_TRUE(fs::is_symlink(path_));
  EXPECT_TRUE(fs::is_socket(target));
}

TEST_F(Unix, APathThatBecameSomebodyElsesIsKept) {
  auto first = listen(path_);
  ASSERT_TRUE(first);
  fs::remove(path_);
  const auto second = listen(path_);
  ASSERT_TRUE(second) << text_of(second);
  first->reset();
  EXPECT_TRUE(fs::is_socket(path_));
  expect_reachable(**second, path_);
}

TEST_F(Unix, APathTooLongIsOneClearLine) {
  const std::string most = folder_.string() + "/" + std::string(106 - folder_.string().size(), 'x');
  ASSERT_EQ(most.size(), 107u);
  EXPECT_TRUE(listen(most));
  const auto listener = listen(most + "x");
  EXPECT_EQ(code_of(listener), Errc::usage);
  EXPECT_EQ(text_of(listener), "listen on unix://" + most +
                                   "x: the socket's path is longer than 107 bytes, the most that "
                                   "the kernel takes");
  EXPECT_EQ(code_of(connect(most + "x")), Errc::usage);
}

TEST_F(Unix, AnAbstractNameMayBeAsLong) {
  const std::string name = "@" + folder_.string() + std::string(107 - folder_.string().size(), 'x');
  const auto listener = listen(name);
  ASSERT_TRUE(listener) << text_of(listener);
  expect_reachable(**listener, name);
  EXPECT_EQ(code_of(listen(name + "x")), Errc::usage);
}

TEST_F(Unix, ANamelessSocketIsAUsageError) {
  EXPECT_EQ(code_of(listen("")), Errc::usage);
  EXPECT_EQ(code_of(listen("@")), Errc::usage);
  EXPECT_EQ(code_of(listen(std::string("/a\0b", 4))), Errc::usage);
}

TEST_F(Unix, ConnectingWhereNobodyListensNamesTheRemedy) {
  const std::string act = "connect unix://" + path_ + ": ";
  const auto missing = connect(path_);
  EXPECT_EQ(code_of(missing), Errc::unreachable);
  EXPECT_EQ(text_of(missing), act + "no such file or directory (is migrate-recv listening there?)");
  ASSERT_TRUE(raw_unix_listener(path_, 1));
  EXPECT_EQ(text_of(connect(path_)), act + "connection refused (is migrate-recv listening there?)");
}

TEST_F(Unix, ListeningInAMissingFolderIsUnreachable) {
  const auto listener = listen(folder_ / "missing" / "socket");
  EXPECT_EQ(code_of(listener), Errc::unreachable);
  EXPECT_TRUE(text_of(listener).ends_with(": no such file or directory")) << text_of(listener);
}

TEST_F(Unix, AConnectWaitsWhileTheBacklogIsFull) {
  const UniqueFd listener = raw_unix_listener(path_, 0);
  const UniqueFd waiting = raw_connection(unix_address(path_, "test").value());
  ASSERT_TRUE(listener && waiting);
  EventLoop& loop = runner_.loop();
  const auto late = runner_.run(
      loop.within(Clock::now() + 20ms, transport_->connect(loop, unix_uri(path_)), "connect"));
  EXPECT_EQ(code_of(late), Errc::timed_out);

  auto connecting = std::async(std::launch::async, [&] { return connect(path_); });
  const UniqueFd first(::accept(listener.get(), nullptr, nullptr));
  const auto connected = connecting.get();
  EXPECT_TRUE(connected) << text_of(connected);
}

TEST_F(Unix, AnAcceptedPeerIsNamedByItsProcess) {
  const auto listener = listen(path_);
  const auto ours = connect(path_);
  ASSERT_TRUE(listener && ours);
  const auto theirs = runner_.run((*listener)->accept());
  ASSERT_TRUE(theirs);
  EXPECT_EQ((*ours)->info().peer, "unix://" + path_);
  EXPECT_EQ((*theirs)->info().peer,
            "process " + std::to_string(::getpid()) + " on unix://" + path_);
  EXPECT_EQ((*theirs)->info().local, "unix://" + path_);
}

}  // namespace
}  // namespace ferry::test
