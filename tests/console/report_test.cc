#include "console/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace ferry {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

Report some_report() {
  Report report;
  report.each_round = {{.round = 0,
                        .bytes = 1 << 30,
                        .pages = 1 << 18,
                        .wire_bytes = 1 << 20,
                        .suspect = 3,
                        .time = 1500ms,
                        .bandwidth = 7,
                        .dirty_bytes = 4096,
                        .dirty_rate = 5},
                       {.round = 1, .guest_ran = false, .bytes = 4096, .time = 1ms}};
  report.downtime = 12ms;
  report.downtime_parts = {.pause = 1ms, .memory = 4ms, .prepare = 7ms};
  report.throttle = 20;
  report.lanes = {{.lane = 0,
                   .wire_bytes = 1 << 20,
                   .placed_bytes = 1 << 19,
                   .packets = 9,
                   .resent = 2,
                   .replacements = 3,
                   .times = {.checksum = 3ms, .socket = 2500us}}};
  report.state_bytes = 77;
  report.state_sections = 2;
  report.limit = "limited by the line: blocked on the socket, 45 % of lane time";
  return report;
}

TEST(ReportJson, HasEveryRoundEveryPartOfTheDowntimeAndEveryLane) {
  const json report = json::parse(report_json(some_report()));
  ASSERT_EQ(report["rounds"].size(), 2u);
  EXPECT_EQ(report["rounds"][0], (json{{"round", 0},
                                       {"guest_ran", true},
                                       {"bytes", 1 << 30},
                                       {"pages", 1 << 18},
                                       {"wire_bytes", 1 << 20},
                                       {"suspect", 3},
                                       {"ms", 1500.0},
                                       {"bandwidth", 7},
                                       {"dirty_bytes", 4096},
                                       {"dirty_rate", 5}}));
  EXPECT_EQ(report["rounds"][1]["guest_ran"], false);
  EXPECT_EQ(report["downtime_ms"], 12.0);
  EXPECT_EQ(report["downtime"], (json{{"pause", 1.0},
                                      {"memory", 4.0},
                                      {"state", 0.0},
                                      {"state_memory", 0.0},
                                      {"digests", 0.0},
                                      {"prepare", 7.0},
                                      {"commit", 0.0}}));
  ASSERT_EQ(report["lanes"].size(), 1u);
  EXPECT_EQ(report["lanes"][0]["ms"]["checksum"], 3.0);
  EXPECT_EQ(report["lanes"][0]["ms"]["socket"], 2.5);
  EXPECT_EQ(report["lanes"][0]["ms"].size(), 10u);
  EXPECT_EQ(report["lanes"][0]["resent"], 2);
  EXPECT_EQ(report["lanes"][0]["placed_bytes"], 1 << 19);
  EXPECT_EQ(report["lanes"][0]["replacements"], 3);
  EXPECT_EQ(report["throttle"], 20);
  EXPECT_EQ(report["state_bytes"], 77);
  EXPECT_EQ(report["state_sections"], 2);
  EXPECT_EQ(report["limit"], some_report().limit);
}

TEST(ReportJson, OfAnImageHasNoDowntime) {
  EXPECT_FALSE(json::parse(report_json({})).contains("downtime"));
}

TEST(ReportText, SaysItInLines) {
  const std::string text = report_text(some_report());
  EXPECT_THAT(text, HasSubstr("round 0: 1.00 GiB of memory in 1.50 s"));
  EXPECT_THAT(text, HasSubstr(", 3 suspect\n"));
  EXPECT_THAT(text, HasSubstr("round 1, guest paused: "));
  EXPECT_THAT(text, HasSubstr("downtime 12.0 ms: pause 1.0, memory 4.0, prepare 7.0\n"));
  EXPECT_THAT(text, HasSubstr("lane 0: 1.00 MiB on the line of 4 channels in 9 packets"));
  EXPECT_THAT(text, HasSubstr("ms: checksum 3.0, socket 2.5\n"));
  EXPECT_THAT(text, HasSubstr("limited by the line: blocked on the socket, 45 % of lane time\n"));
  EXPECT_THAT(report_text({}), Not(HasSubstr("downtime")));
}

TEST(ReportText, OfASnapshotSaysWhatIsInTheFile) {
  Report report;
  report.proof = Proof::durable_image;
  report.lanes = {{.lane = 1, .wire_bytes = 1 << 20, .packets = 4, .times = {.place = 3ms}}};
  EXPECT_THAT(report_text(report),
              HasSubstr("lane 1: 1.00 MiB in the file in 4 pieces; ms: place 3.0\n"));
}

}  // namespace
}  // namespace ferry
