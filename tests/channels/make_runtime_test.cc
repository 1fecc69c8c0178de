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

/// Without rdma-core, without a device, and at a name that nobody has, with its own words each.
TEST(Rdma, SaysWhyItReachesNobody) {
  const auto runtime = make_runtime();
  ASSERT_TRUE(runtime);
  EventLoop& loop = (*runtime)->loop();
  Transport& rdma = **(*runtime)->transport("rdma");
  const Uri uri = Uri::parse("rdma://127.0.0.1:1").value();
  const auto channel = block_on(loop, rdma.connect(loop, uri));
  EXPECT_EQ(code_of(channel), Errc::unreachable);
  EXPECT_TRUE(text_of(channel).starts_with("connect rdma://127.0.0.1:1: ")) << text_of(channel);
  EXPECT_TRUE(text_of(channel).contains("RDMA")) << text_of(channel);
  const auto listener = block_on(loop, rdma.listen(loop, uri));
  EXPECT_EQ(code_of(listener), Errc::unreachable);
  EXPECT_TRUE(text_of(listener).starts_with("listen on rdma://127.0.0.1:1: ")) << text_of(listener);
  EXPECT_TRUE(text_of(listener).contains("RDMA")) << text_of(listener);
}

TEST(Rdma, KnowsNoOptions) {
  const auto runtime = make_runtime();
  ASSERT_TRUE(runtime);
  Transport& rdma = **(*runtime)->transport("rdma");
  if (!rdma.abilities()) GTEST_SKIP() << "this build has none";
  const Uri uri = Uri::parse("rdma://127.0.0.1:1?key=ab").value();
  const auto channel = block_on((*runtime)->loop(), rdma.connect((*runtime)->loop(), uri));
  EXPECT_EQ(code_of(channel), Errc::usage) << text_of(channel);
}

TEST(Rdma, EncryptedSaysSoByTheNameThatItWasCalledBy) {
  const auto runtime = make_runtime().value();
  if (!runtime->transport("rdma+tls")) GTEST_SKIP() << "this build has no TLS";
  Transport& rdma = **runtime->transport("rdma+tls");
  EXPECT_EQ(rdma.scheme(), "rdma+tls");
  const Uri nowhere = Uri::parse("rdma+tls://127.0.0.1").value();  // no device's
  const auto listener = block_on(runtime->loop(), rdma.listen(runtime->loop(), nowhere));
  EXPECT_EQ(code_of(listener), Errc::unreachable);
  EXPECT_TRUE(text_of(listener).starts_with("listen on rdma+tls://127.0.0.1:4446: "))
      << text_of(listener);
}

}  // namespace
}  // namespace ferry::test
