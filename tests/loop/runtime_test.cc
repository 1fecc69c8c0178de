#include "ferry/runtime.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <csignal>
#include <string>

namespace ferry {
namespace {

class NamedTransport final : public Transport {
 public:
  explicit NamedTransport(std::string scheme) : scheme_(std::move(scheme)) {}
  std::string_view scheme() const noexcept override { return scheme_; }
  Task<std::unique_ptr<Channel>> connect(EventLoop&, Uri) override { return {}; }
  Task<std::unique_ptr<Listener>> listen(EventLoop&, Uri) override { return {}; }

 private:
  std::string scheme_;
};

std::unique_ptr<Runtime> new_runtime() {
  auto runtime = Runtime::create();
  EXPECT_TRUE(runtime.has_value());
  return *std::move(runtime);
}

struct LoopSurroundings {
  std::string thread_name;
  bool all_signals_blocked;
};

Task<LoopSurroundings> look_around_in_the_loop() {
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  const bool blocked = sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGTERM) == 1 &&
                       sigismember(&mask, SIGUSR1) == 1;
  co_return LoopSurroundings{name, blocked};
}

TEST(Runtime, RunsItsLoopInAThreadOfItsOwnWithAllSignalsBlocked) {
  const auto runtime = new_runtime();
  const auto seen = block_on(runtime->loop(), look_around_in_the_loop());
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(seen->thread_name, "ferry-loop");
  EXPECT_TRUE(seen->all_signals_blocked);
}

TEST(Runtime, LeavesTheCallersSignalsAsTheyWere) {
  const auto runtime = new_runtime();
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  EXPECT_EQ(sigismember(&mask, SIGTERM), 0);
}

TEST(Runtime, FindsATransportByItsScheme) {
  const auto runtime = new_runtime();
  runtime->add(std::make_unique<NamedTransport>("tcp"));
  runtime->add(std::make_unique<NamedTransport>("unix"));
  const auto found = runtime->transport("unix");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ((*found)->scheme(), "unix");
}

TEST(Runtime, ATransportTakesThePlaceOfTheOneWithItsScheme) {
  const auto runtime = new_runtime();
  auto second = std::make_unique<NamedTransport>("tcp");
  const Transport* const expected = second.get();
  runtime->add(std::make_unique<NamedTransport>("tcp"));
  runtime->add(std::move(second));
  EXPECT_EQ(runtime->transport("tcp").value(), expected);
}

TEST(Runtime, NamesTheSchemesThatThereAre) {
  const auto runtime = new_runtime();
  EXPECT_EQ(runtime->transport("foo").error().text(),
            "unknown scheme 'foo' (this build speaks: nothing)");
  for (const char* scheme : {"unix", "rdma", "tcp"}) {
    runtime->add(std::make_unique<NamedTransport>(scheme));
  }
  const auto found = runtime->transport("foo");
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code, Errc::usage);
  EXPECT_EQ(found.error().text(), "unknown scheme 'foo' (this build speaks: rdma, tcp, unix)");
}

}  // namespace
}  // namespace ferry
