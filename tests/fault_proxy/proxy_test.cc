// The proxy itself: each fault does what it says, and nothing else.
#include <sys/socket.h>

#include <gtest/gtest.h>

#include <string>

#include "ferry/uri.h"
#include "tests/e2e/process.h"
#include "tests/e2e/relay.h"
#include "tests/e2e/scene.h"

namespace ferry::test {
namespace {

/// A proxy in front of a listener of ours, and one connection through it.
class Proxied : public testing::Test {
 protected:
  void start(const std::string& faults, const std::string& record = {}) {
    Words command = {FAULT_PROXY, "--to", "tcp://127.0.0.1:" + std::to_string(target_.port),
                     "--faults", faults};
    if (!record.empty()) command.insert(command.end(), {"--record", record});
    proxy_.emplace(command);
    ASSERT_TRUE(proxy_->read_until(proxy_->out(), [](auto& text) { return text.contains('\n'); }));
    const std::string line = proxy_->out().substr(0, proxy_->out().find('\n'));
    port_ = Uri::parse(line.substr(line.rfind(' ') + 1)).value().port;
    client_ = connect_to(port_);
    server_ = accept();
  }
  UniqueFd accept() {
    return UniqueFd(::accept4(target_.socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  static void say(const UniqueFd& to, std::string_view text) {
    EXPECT_EQ(::send(to.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<::ssize_t>(text.size()));
  }
  /// All until the end, and whether that was a finish.
  struct Heard {
    std::string text;
    bool finished;
  };
  static Heard hear_all(const UniqueFd& from) {
    Heard heard{};
    char piece[256];
    for (;;) {
      const ::ssize_t got = ::recv(from.get(), piece, sizeof piece, 0);
      if (got <= 0) return {heard.text, got == 0};
      heard.text.append(piece, static_cast<std::size_t>(got));
    }
  }

  DeafListener target_;
  std::optional<Process> proxy_;
  std::uint16_t port_ = 0;
  UniqueFd client_, server_;
};

TEST_F(Proxied, PassesEverythingOnBothWays) {
  start("");
  say(client_, "there");
  say(server_, "and back");
  ::shutdown(client_.get(), SHUT_WR);
  EXPECT_EQ(hear_all(server_).text, "there");
  ::shutdown(server_.get(), SHUT_WR);
  EXPECT_EQ(hear_all(client_).text, "and back");
}

TEST_F(Proxied, FlipsOneBitOfOneDirection) {
  start("flip:0:up:2:1,flip:0:up:3:0,flip:1:up:0:0,flip:0:down:99:0");
  say(client_, "aaaaa");
  say(server_, "aaaaa");
  ::shutdown(client_.get(), SHUT_WR);
  EXPECT_EQ(hear_all(server_).text, "aac`a");
  ::shutdown(server_.get(), SHUT_WR);
  EXPECT_EQ(hear_all(client_).text, "aaaaa");
}

TEST_F(Proxied, CutsAtItsPlace) {
  start("cut:0:down:3");
  say(server_, "hello");
  const Heard heard = hear_all(client_);
  EXPECT_TRUE(std::string("hel").starts_with(heard.text)) << heard.text;
  hear_all(server_);  // ends, too
}

TEST_F(Proxied, StallsOneDirectionForGood) {
  start("stall:0:up:3");
  say(client_, "hello");
  char piece[3];
  ASSERT_EQ(::recv(server_.get(), piece, 3, MSG_WAITALL), 3);
  // Said later than the stall, and answered on a way that is open.
  say(client_, "more");
  say(server_, "back");
  ASSERT_EQ(::recv(client_.get(), piece, 3, MSG_WAITALL), 3);
  EXPECT_EQ(::recv(server_.get(), piece, 1, MSG_DONTWAIT), -1);
}

TEST_F(Proxied, DelaysAndLosesNothing) {
  start("delay:0:up:3:20");
  say(client_, "hello");
  ::shutdown(client_.get(), SHUT_WR);
  EXPECT_EQ(hear_all(server_).text, "hello");
}

TEST_F(Proxied, JoinsConnectionsOnInReverseOrder) {
  start("reorder:2");
  const UniqueFd second = connect_to(port_);
  const UniqueFd third = connect_to(port_);
  say(second, "second");
  say(third, "third");
  ::shutdown(second.get(), SHUT_WR);
  ::shutdown(third.get(), SHUT_WR);
  const UniqueFd first_joined = accept();
  const UniqueFd then_joined = accept();
  EXPECT_EQ(hear_all(first_joined).text, "third");
  EXPECT_EQ(hear_all(then_joined).text, "second");
}

TEST_F(Proxied, RecordsWhatItPassedOn) {
  const TempFolder folder;
  start("flip:0:up:0:0", folder.path());
  say(client_, "a-up");
  say(server_, "down");
  ::shutdown(client_.get(), SHUT_WR);
  EXPECT_EQ(hear_all(server_).text, "`-up");
  ::shutdown(server_.get(), SHUT_WR);
  hear_all(client_);
  EXPECT_EQ(read_file(folder / "0.up"), "`-up");
  EXPECT_EQ(read_file(folder / "0.down"), "down");
}

}  // namespace
}  // namespace ferry::test
