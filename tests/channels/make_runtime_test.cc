#include <gtest/gtest.h>

#include <string>

#include "ferry/ferry.h"
#include "tests/channels/io.h"

namespace ferry::test {
namespace {

TEST(MakeRuntime, KnowsEveryTransportOfThisBuild) {
  const auto runtime = make_runtime();
  ASSERT_TRUE(runtime) << text_of(runtime);
  for (const char* scheme : {"tcp", "unix", "vsock", "file", "rdma", "exec", "stdio", "fd"}) {
    const auto transport = (*runtime)->transport(scheme);
    ASSERT_TRUE(transport) << text_of(transport);
    EXPECT_EQ((*transport)->scheme(), scheme);
  }
}

TEST(MakeRuntime, ASchemeThatNothingSpeaksIsAUsageError) {
  const auto runtime = make_runtime();
  ASSERT_TRUE(runtime);
  EXPECT_EQ(code_of((*runtime)->transport("gopher")), Errc::usage);
}

TEST(Rdma, SaysThatThisBuildHasNone) {
  const auto runtime = make_runtime();
  ASSERT_TRUE(runtime);
  EventLoop& loop = (*runtime)->loop();
  Transport& rdma = **(*runtime)->transport("rdma");
  const Uri uri = Uri::parse("rdma://x:4446").value();
  const auto channel = block_on(loop, rdma.connect(loop, uri));
  EXPECT_EQ(code_of(channel), Errc::unreachable);
  EXPECT_EQ(text_of(channel), "connect rdma://x:4446: this build has no RDMA");
  const auto listener = block_on(loop, rdma.listen(loop, uri));
  EXPECT_EQ(code_of(listener), Errc::unreachable);
  EXPECT_EQ(text_of(listener), "listen on rdma://x:4446: this build has no RDMA");
}

TEST(Rdma, EncryptedSaysSoByTheNameThatItWasCalledBy) {
  const auto runtime = make_runtime().value();
  if (!runtime->transport("rdma+tls")) GTEST_SKIP() << "this build has no TLS";
  Transport& rdma = **runtime->transport("rdma+tls");
  EXPECT_EQ(rdma.scheme(), "rdma+tls");
  const Uri nowhere = Uri::parse("rdma+tls://no-such-host.invalid").value();
  const auto listener = block_on(runtime->loop(), rdma.listen(runtime->loop(), nowhere));
  EXPECT_EQ(code_of(listener), Errc::unreachable);
  EXPECT_TRUE(text_of(listener).starts_with("listen on rdma+tls://no-such-host.invalid:4446: "))
      << text_of(listener);
}

}  // namespace
}  // namespace ferry::test
