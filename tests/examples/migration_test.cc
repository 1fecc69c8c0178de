// The examples migrate, over every transport that connects two processes of one host, and by way of
// a file.
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>

#include "tests/examples/example_run.h"
#include "tests/image/temp_folder.h"

namespace ferry {
namespace {

struct Example {
  std::string name;
  std::string program;
  std::string workers;  ///< the option that says how many
  Words extra;          ///< options of this one
};

/// Where the destination listens; what the source is told is what it then says. "%" stands for a
/// folder of the test's own.
struct Way {
  std::string name;
  std::string uri;
};

std::vector<Example> examples() {
  std::vector<Example> all = {{"ProcessGuest", PROCESS_GUEST, "--threads", {}}};
#ifdef TINY_VMM
  all.push_back({"TinyVmmByLog", TINY_VMM, "--vcpus", {"--tracker", "log"}});
  all.push_back({"TinyVmmByRing", TINY_VMM, "--vcpus", {"--tracker", "ring"}});
  all.push_back({"TinyVmmByPagemap", TINY_VMM, "--vcpus", {"--tracker", "pagemap"}});
#endif
  return all;
}

/// One of each program: how writes are tracked makes no difference to how a migration ends.
std::vector<Example> programs() {
  std::vector<Example> all = examples();
  all.resize(std::min<std::size_t>(all.size(), 2));
  return all;
}

std::vector<Way> ways() {
  std::vector<Way> all = {{"Tcp", "tcp://127.0.0.1:0"}, {"Unix", "unix://%/guest"}};
#ifdef FERRY_TESTS_TLS
  all.push_back({"Tls", "tls://127.0.0.1:0"});
#endif
#ifdef FERRY_TESTS_WEBSOCKET
  all.push_back({"WebSocket", "ws://127.0.0.1:0"});
#endif
  return all;
}

/// Runs both ends of a migration of a small guest.
class Migrating {
 protected:
  ExampleRun destination(const Example& example, const std::string& at, Words more = {}) {
    return run(example, {"--incoming", placed(at), "--run-for", "300ms"}, std::move(more));
  }
  ExampleRun source(const Example& example, const std::string& to, Words more = {}) {
    return run(example, {"--migrate", placed(to), "--after", "200ms", "--fill", "noise"},
               std::move(more));
  }

 private:
  std::string placed(std::string uri) const {
    if (const auto place = uri.find('%'); place != uri.npos) uri.replace(place, 1, folder_.path());
    return uri;
  }

  static ExampleRun run(const Example& example, Words arguments, Words more) {
    for (const char* const word : {"--memory", "128MiB", "--dirty-rate", "40MiB/s"}) {
      arguments.emplace_back(word);
    }
    arguments.insert(arguments.end(), {example.workers, "2"});
    arguments.insert(arguments.end(), example.extra.begin(), example.extra.end());
    arguments.insert(arguments.end(), more.begin(), more.end());
    return ExampleRun(example.program, std::move(arguments));
  }
  TempFolder folder_;
};

using Case = std::tuple<Example, Way>;

class ARunningGuest : public testing::TestWithParam<Case>, protected Migrating {
 protected:
  void SetUp() override {
    if (const auto why = why_not_here(example().program)) GTEST_SKIP() << *why;
  }
  const Example& example() const { return std::get<0>(GetParam()); }
};

TEST_P(ARunningGuest, ArrivesWithAllOfItsMemoryAndState) {
  ExampleRun there = destination(example(), std::get<1>(GetParam()).uri);
  const auto listening = there.wait_for("listening");
  ASSERT_TRUE(listening.is_object()) << there.all();
  ExampleRun here = source(example(), listening["uri"]);
  EXPECT_EQ(here.wait(), 0) << here.all();
  EXPECT_EQ(there.wait(), 0) << there.all();

  const auto migrated = here.event("migrated");
  ASSERT_TRUE(migrated.is_object()) << here.all();
  EXPECT_GT(migrated["downtime_ms"], 0);
  EXPECT_GT(migrated["state_bytes"], 0);
  EXPECT_EQ(migrated["bytes"], 128 << 20);
  const auto done = there.event("done");
  ASSERT_TRUE(done.is_object()) << there.all();
  EXPECT_EQ(done["guest_errors"], 0);
  // Of the guest that was, and the one that is: the source let it run for 200 ms, by its own clock.
  EXPECT_GT(done["heartbeats"], 2);
  EXPECT_GT(done["longest_gap_ms"], 0);
}

INSTANTIATE_TEST_SUITE_P(Examples, ARunningGuest,
                         testing::Combine(testing::ValuesIn(examples()), testing::ValuesIn(ways())),
                         [](const testing::TestParamInfo<Case>& one) {
                           return std::get<0>(one.param).name + "Over" +
                                  std::get<1>(one.param).name;
                         });

class AGuest : public testing::TestWithParam<Example>, protected Migrating {
 protected:
  void SetUp() override {
    if (const auto why = why_not_here(GetParam().program)) GTEST_SKIP() << *why;
  }
};

TEST_P(AGuest, IsWrittenDownWhileItRunsAndGoesOnWhereItIsReadAgain) {
  ExampleRun here = source(GetParam(), "file://%/guest.ferry");
  EXPECT_EQ(here.wait(), 0) << here.all();
  const auto migrated = here.event("migrated");
  ASSERT_TRUE(migrated.is_object()) << here.all();
  EXPECT_EQ(migrated["bytes"], 128 << 20);
  EXPECT_GT(migrated["state_bytes"], 0);
  // It ran when its pages were written down, and so some of them were written down again.
  EXPECT_GT(migrated["rounds"].size(), 1u);

  // Twice: a file stays what it is.
  for (int restored = 0; restored < 2; ++restored) {
    ExampleRun there = destination(GetParam(), "file://%/guest.ferry");
    EXPECT_EQ(there.wait(), 0) << there.all();
    const auto done = there.event("done");
    ASSERT_TRUE(done.is_object()) << there.all();
    EXPECT_EQ(done["guest_errors"], 0);
    EXPECT_GT(done["heartbeats"], 2);
  }
}

TEST_P(AGuest, RunsOnHereWhenTheFileCannotBeMade) {
  ExampleRun here =
      source(GetParam(), "file://%/no-such-folder/guest.ferry", {"--run-for", "200ms"});
  EXPECT_EQ(here.wait(), 1) << here.all();
  EXPECT_EQ(here.event("failed")["owner"], "source") << here.all();
  EXPECT_EQ(here.event("done")["guest_errors"], 0) << here.all();
}

TEST_P(AGuest, RunsOnHereWhenNobodyTakesIt) {
  ExampleRun here = source(GetParam(), "tcp://127.0.0.1:1", {"--run-for", "200ms"});
  EXPECT_EQ(here.wait(), 1) << here.all();
  const auto failed = here.event("failed");
  EXPECT_EQ(failed["owner"], "source") << here.all();
  EXPECT_EQ(failed["code"], "unreachable");
  EXPECT_EQ(here.event("done")["guest_errors"], 0) << here.all();
}

TEST_P(AGuest, RunsOnHereWhenTheDestinationHasOtherMemory) {
  ExampleRun there = destination(GetParam(), "tcp://127.0.0.1:0", {"--memory", "64MiB"});
  ExampleRun here =
      source(GetParam(), there.wait_for("listening").value("uri", ""), {"--run-for", "200ms"});
  EXPECT_EQ(here.wait(), 1) << here.all();
  EXPECT_EQ(there.wait(), 1) << there.all();
  EXPECT_THAT(here.event("failed").value("message", ""), testing::HasSubstr("other memory"));
  EXPECT_EQ(here.event("done")["guest_errors"], 0) << here.all();
}

TEST_P(AGuest, RunsOnHereWhenTheDestinationHasFewerWorkers) {
  ExampleRun there = destination(GetParam(), "tcp://127.0.0.1:0", {GetParam().workers, "1"});
  ExampleRun here =
      source(GetParam(), there.wait_for("listening").value("uri", ""), {"--run-for", "200ms"});
  EXPECT_EQ(here.wait(), 1) << here.all();
  EXPECT_EQ(there.wait(), 1) << there.all();
  // It was paused, its state was refused, and it goes on where it was.
  EXPECT_EQ(here.event("failed")["owner"], "source");
  EXPECT_EQ(here.event("done")["guest_errors"], 0) << here.all();
}

TEST_P(AGuest, RunsOnHereWhenTheMigrationIsCancelled) {
  ExampleRun there = destination(GetParam(), "tcp://127.0.0.1:0");
  ExampleRun here = source(GetParam(), there.wait_for("listening").value("uri", ""),
                           {"--max-bandwidth", "1MiB/s", "--run-for", "200ms"});
  ASSERT_TRUE(here.wait_for("migrating").is_object()) << here.all();
  here.process().signal(SIGTERM);
  EXPECT_EQ(here.wait(), 1) << here.all();
  EXPECT_EQ(here.event("failed")["code"], "cancelled") << here.all();
  EXPECT_EQ(here.event("done")["guest_errors"], 0) << here.all();
  EXPECT_EQ(there.wait(), 1) << there.all();
}

TEST_P(AGuest, RunsOnHereWhenItWritesFasterThanTheLineCarries) {
  const Words small = {"--memory", "16MiB"};
  ExampleRun there = destination(GetParam(), "tcp://127.0.0.1:0", small);
  ExampleRun here = source(GetParam(), there.wait_for("listening").value("uri", ""),
                           {"--memory", "16MiB", "--max-bandwidth", "20MiB/s", "--max-downtime",
                            "20ms", "--not-converging", "give-up", "--run-for", "200ms"});
  EXPECT_EQ(here.wait(), 9) << here.all();
  EXPECT_EQ(here.event("failed")["code"], "not_converging") << here.all();
  EXPECT_EQ(here.event("done")["guest_errors"], 0) << here.all();
  EXPECT_EQ(there.wait(), 1) << there.all();
}

TEST_P(AGuest, IsSlowedDownUntilTheLineKeepsUp) {
  const Words small = {"--memory", "16MiB"};
  ExampleRun there = destination(GetParam(), "tcp://127.0.0.1:0", small);
  ExampleRun here = source(GetParam(), there.wait_for("listening").value("uri", ""),
                           {"--memory", "16MiB", "--max-bandwidth", "20MiB/s", "--max-downtime",
                            "50ms", "--not-converging", "throttle"});
  EXPECT_EQ(here.wait(), 0) << here.all();
  EXPECT_GT(here.event("migrated").value("throttle", 0), 0) << here.all();
  EXPECT_EQ(there.wait(), 0) << there.all();
  EXPECT_EQ(there.event("done")["guest_errors"], 0) << there.all();
}

INSTANTIATE_TEST_SUITE_P(Examples, AGuest, testing::ValuesIn(programs()),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace ferry
