// What needs no peer: whether vsocks of one machine reach each other is for the conformance suite.
#include "channels/vsock.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>

#include "ferry/uri.h"
#include "tests/channels/io.h"
#include "tests/channels/loop_thread.h"

namespace ferry::test {
namespace {

class Vsock : public testing::Test {
 protected:
  Result<std::unique_ptr<Listener>> listen(const std::string& at) {
    return runner_.run(transport_->listen(runner_.loop(), Uri::parse(at).value()));
  }
  Result<std::unique_ptr<Channel>> connect(const Uri& to) {
    return runner_.run(transport_->connect(runner_.loop(), to));
  }

  std::unique_ptr<Transport> transport_ = make_vsock_transport();
  LoopThread runner_;
};

TEST_F(Vsock, ASenderMustNameACidAndAPort) {
  EXPECT_EQ(text_of(connect(Uri::parse("vsock://:4446").value())),
            "connect vsock://:4446: no cid is named");
  EXPECT_EQ(text_of(connect(Uri::parse("vsock://2:0").value())),
            "connect vsock://2:0: port 0 is for listeners");
}

TEST_F(Vsock, AUriThatWasNotParsedMayHoldNoNumber) {
  for (const char* host : {"node7", "3x", "4294967296", "-1"}) {
    Uri uri = Uri::parse("vsock://2:4446").value();
    uri.host = host;
    EXPECT_EQ(code_of(connect(uri)), Errc::usage) << host;
    EXPECT_EQ(code_of(runner_.run(transport_->listen(runner_.loop(), uri))), Errc::usage) << host;
  }
}

TEST_F(Vsock, AnOptionIsRefused) {
  EXPECT_EQ(code_of(connect(Uri::parse("vsock://2:4446?key=x").value())), Errc::usage);
  EXPECT_EQ(code_of(listen("vsock://:0?key=x")), Errc::usage);
}

class ListeningVsock : public Vsock {
 protected:
  void SetUp() override {
    const UniqueFd socket(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) GTEST_SKIP() << "this kernel has no vsock, or has not loaded it";
  }
};

TEST_F(ListeningVsock, PortZeroIsAFreePortForEach) {
  const auto one = listen("vsock://:0");
  const auto other = listen("vsock://:0");
  ASSERT_TRUE(one) << text_of(one);
  ASSERT_TRUE(other) << text_of(other);
  EXPECT_GE((*one)->local().port, 49152);
  EXPECT_NE((*one)->local().port, (*other)->local().port);
}

TEST_F(ListeningVsock, ALocalUriNamesACid) {
  const auto listener = listen("vsock://:0");
  ASSERT_TRUE(listener) << text_of(listener);
  EXPECT_FALSE((*listener)->local().host.empty());
  const auto typed = Uri::parse((*listener)->local().text());
  ASSERT_TRUE(typed) << text_of(typed);
  EXPECT_EQ(*typed, (*listener)->local());
}

TEST_F(ListeningVsock, APortThatIsTakenIsAnError) {
  const auto first = listen("vsock://:0");
  ASSERT_TRUE(first) << text_of(first);
  const std::string taken = "vsock://:" + std::to_string((*first)->local().port);
  const auto second = listen(taken);
  EXPECT_EQ(code_of(second), Errc::unreachable);
  EXPECT_EQ(text_of(second),
            "listen on " + taken + ": address already in use (is another migrate-recv running?)");
}

}  // namespace
}  // namespace ferry::test
