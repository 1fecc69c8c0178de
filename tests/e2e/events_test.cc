// What the commands say, to scripts and to people.
#include <algorithm>

#include "tests/e2e/events.h"
#include "tests/e2e/scene.h"

namespace ferry {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

class Events : public EndToEnd {};

void expect_done(const json& event, std::uint64_t bytes) {
  ASSERT_EQ(event.value("event", ""), "done") << event;
  EXPECT_EQ(event["bytes"], bytes);
  EXPECT_GE(event["wire_bytes"], bytes);
  EXPECT_GT(event["seconds"], 0);
  EXPECT_GT(event["throughput_bytes_per_second"], 0);
  EXPECT_EQ(event["resent"], 0);
  EXPECT_EQ(event["suspect"], 0);
  EXPECT_EQ(event["zero_copy_fallbacks"], 0);
  EXPECT_GT(event["peak_memory_bytes"], k_mib);
  EXPECT_EQ(event["channels"], 2);
  EXPECT_EQ(event["verify"], "pages");
  EXPECT_GT(event["cpu_seconds"], 0);
  EXPECT_TRUE(event["zero_bytes"].is_number_unsigned());
  EXPECT_TRUE(event["rounds"].is_number_unsigned());
  EXPECT_FALSE(event.contains("downtime_ms"));
}

TEST_F(Events, EveryLineOfJsonIsAnEventAndTheLastOneIsDone) {
  const std::string image = random_image("a.img", 8 * k_mib);
  Receiver receiver({"-o", output_ / "out.img", "tcp://127.0.0.1:0", "--json"});
  Process sender = migrate_send({image, receiver.uri, "--json", "--channels", "2"});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();

  const std::vector<json> sent = events_of(sender.out());
  const std::vector<json> received = events_of(receiver.process.out());
  expect_done(sent.back(), 8 * k_mib);
  expect_done(received.back(), 8 * k_mib);
  EXPECT_EQ(received.front()["event"], "listening");
  EXPECT_EQ(received.front()["command"], "migrate-send IMAGE '" + receiver.uri + "'");
  for (const std::vector<json>& events : {sent, received}) {
    const auto is_warning = [](const json& event) { return event["event"] == "warning"; };
    ASSERT_EQ(std::ranges::count_if(events, is_warning), 1);
    EXPECT_THAT(std::string((*std::ranges::find_if(events, is_warning))["message"]),
                HasSubstr("not encrypted"));
  }
  EXPECT_EQ(sender.err(), "");
  EXPECT_EQ(receiver.process.err(), "");
}

TEST_F(Events, AFailureIsAnEventToo) {
  Process sender = migrate_send({source_ / "none.img", "tcp://127.0.0.1:1", "--json"});
  EXPECT_EQ(sender.wait(), 8);
  const std::vector<json> events = events_of(sender.out());
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["event"], "failed");
  EXPECT_EQ(events[0]["code"], "system");
  EXPECT_THAT(std::string(events[0]["message"]), HasSubstr("none.img': no such file"));
}

TEST_F(Events, AUsageErrorIsAnEventToo) {
  Process receiver({MIGRATE_RECV, "--json", "--nonsense"});
  EXPECT_EQ(receiver.wait(), 2);
  const std::vector<json> events = events_of(receiver.out());
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["event"], "failed");
  EXPECT_EQ(events[0]["code"], "usage");
}

TEST_F(Events, PeopleReadWhatWasProved) {
  const std::string image = random_image("a.img", 8 * k_mib);
  Receiver receiver({"-o", output_ / "out.img", "tcp://127.0.0.1:0"});
  Process sender = migrate_send({image, receiver.uri});
  EXPECT_EQ(sender.wait(), 0) << sender.err();
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
  const std::string proof =
      "8\\.00 MiB in .* s, .*/s: every 4 KiB checked, transcript equal on both sides";
  EXPECT_THAT(lines_of(sender.out()), testing::ElementsAre(MatchesRegex(proof)));
  EXPECT_THAT(lines_of(receiver.process.out()),
              testing::ElementsAre("listening on " + receiver.uri, MatchesRegex(proof)));
  EXPECT_THAT(receiver.process.err(), HasSubstr("migrate-send IMAGE '" + receiver.uri + "'\n"));
  EXPECT_THAT(receiver.process.err(), HasSubstr("not encrypted"));
  EXPECT_THAT(sender.err(), HasSubstr("not encrypted"));
}

TEST_F(Events, QuietSaysNothingButTheAddress) {
  const std::string image = random_image("a.img", k_mib);
  Receiver receiver({"-o", output_ / "out.img", "tcp://127.0.0.1:0", "--quiet"});
  Process sender = migrate_send({image, receiver.uri, "--quiet"});
  EXPECT_EQ(sender.wait(), 0);
  EXPECT_EQ(receiver.process.wait(), 0);
  EXPECT_EQ(sender.out() + sender.err() + receiver.process.err(), "");
  EXPECT_EQ(receiver.process.out(), "listening on " + receiver.uri + "\n");
}

TEST_F(Events, AnOutputThatNobodyReadsHarmsNothing) {
  const std::string image = random_image("a.img", k_mib);
  Receiver receiver({"-o", output_ / "out.img", "tcp://127.0.0.1:0"});
  // `true` has ended, or never reads: what the sender says meets a closed pipe.
  Process sender({"/bin/sh", "-c", R"( ("$@"; echo "code $?" >&2) | true )", "sh", MIGRATE_SEND,
                  image, receiver.uri, "--json"});
  EXPECT_EQ(sender.wait(), 0);
  EXPECT_THAT(sender.err(), HasSubstr("code 0\n"));
  EXPECT_EQ(receiver.process.wait(), 0) << receiver.process.err();
}

TEST_F(Events, HelpAndVersionAreAnswered) {
  for (const char* program : {MIGRATE_SEND, MIGRATE_RECV}) {
    Process help({program, "--help"});
    EXPECT_EQ(help.wait(), 0);
    EXPECT_THAT(help.out(), HasSubstr("usage: migrate-"));
    EXPECT_THAT(help.out(), HasSubstr("--timeout SECONDS"));
    Process version({program, "--version"});
    EXPECT_EQ(version.wait(), 0);
    EXPECT_THAT(version.out(), MatchesRegex("migrate-.* .Ferry. [0-9]+\\.[0-9]+\\.[0-9]+\n"));
    EXPECT_EQ(help.err() + version.err(), "");
  }
}

}  // namespace
}  // namespace ferry
