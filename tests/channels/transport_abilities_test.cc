// What transports say of their channels, and what these say themselves.
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "ferry/ferry.h"
#include "tests/channels/loop_thread.h"

namespace ferry::test {
namespace {

class TransportAbilitiesOf : public testing::TestWithParam<std::string> {};

Task<std::unique_ptr<Channel>> connect_here(EventLoop& loop, Transport& transport, Uri at) {
  std::unique_ptr<Listener> listener = co_await transport.listen(loop, std::move(at));
  std::vector<Task<std::unique_ptr<Channel>>> both;
  both.push_back(transport.connect(loop, listener->local()));
  both.push_back(listener->accept());
  std::vector<std::unique_ptr<Channel>> channels = co_await loop.all(std::move(both));
  co_return std::move(channels[0]);
}

TEST_P(TransportAbilitiesOf, AreThoseOfItsChannels) {
  const auto runtime = make_runtime().value();
  const Uri at = Uri::parse(GetParam()).value();
  const auto transport = runtime->transport(at.scheme);
  if (!transport) GTEST_SKIP() << "this build has none: " << transport.error().text();
  LoopThread runner;
  const auto channel = runner.run(connect_here(runner.loop(), **transport, at));
  ASSERT_TRUE(channel) << channel.error().text();
  const auto said = (*transport)->abilities();
  ASSERT_TRUE(said);
  const Facets facets = (*channel)->facets();
  EXPECT_EQ((*channel)->info().scheme, at.scheme);
  EXPECT_EQ((*channel)->info().encrypted, said->encrypted);
  EXPECT_EQ(facets.zero_copy != nullptr, said->zero_copy);
  EXPECT_EQ(facets.fd_passing != nullptr, said->fd_passing);
  EXPECT_EQ(facets.placed_io != nullptr, said->placed_writes);
}

INSTANTIATE_TEST_SUITE_P(Every, TransportAbilitiesOf,
                         testing::Values("tcp://127.0.0.1:0",
                                         "unix://@ferry-abilities-" + std::to_string(::getpid()),
                                         "tls://127.0.0.1:0", "ws://127.0.0.1:0/a",
                                         "wss://127.0.0.1:0/a"),
                         [](const auto& at) { return at.param.substr(0, at.param.find(':')); });

}  // namespace
}  // namespace ferry::test
