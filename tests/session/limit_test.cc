#include "session/limit.h"

#include <gtest/gtest.h>

namespace ferry {
namespace {

using std::chrono::milliseconds;

std::vector<LaneReport> lanes(const LaneTimes& times, std::uint64_t wire_bytes = 1 << 30) {
  return {{.lane = 0, .wire_bytes = wire_bytes / 2, .times = times},
          {.lane = 1, .wire_bytes = wire_bytes / 2, .times = times}};
}

LaneTimes blocked() { return {.checksum = milliseconds(20), .socket = milliseconds(80)}; }

TEST(Limit, IsWhatTookMostOfTheLanesTime) {
  EXPECT_EQ(what_limited(lanes({.checksum = milliseconds(61), .copy = milliseconds(39)}), {}),
            "limited by the sender's CPU: checksums, 61 % of lane time");
  EXPECT_EQ(what_limited(lanes({.copy = milliseconds(10), .bandwidth = milliseconds(90)}), {}),
            "limited by the bound on bandwidth, 90 % of lane time");
  EXPECT_EQ(what_limited(lanes({.read = milliseconds(50), .scan = milliseconds(40)}), {}),
            "limited by reading the sender's files, 56 % of lane time");
}

TEST(Limit, IsTheLineWhereBothSidesWaitForIt) {
  EXPECT_EQ(what_limited(lanes(blocked()), wire::LaneTimesFrame{.waiting = 900, .copying = 100}),
            "limited by the line: blocked on the socket, 80 % of lane time");
  EXPECT_EQ(what_limited(lanes(blocked()), std::nullopt),
            "limited by the line: blocked on the socket, 80 % of lane time");
}

TEST(Limit, IsTheReceiverWhereItsLanesAreBusyAndOursWait) {
  const std::uint64_t pages = (1 << 30) / 4096;
  EXPECT_EQ(what_limited(lanes(blocked()),
                         wire::LaneTimesFrame{
                             .waiting = 200, .copying = 610, .checking = 190, .faults = pages}),
            "limited by the receiver's memory: first-touch page faults, 61 % of its lanes' time");
  EXPECT_EQ(what_limited(lanes(blocked()), wire::LaneTimesFrame{.waiting = 200, .copying = 800}),
            "limited by the receiver's CPU: copying from the socket, 80 % of its lanes' time");
  EXPECT_EQ(what_limited(lanes(blocked()),
                         wire::LaneTimesFrame{.waiting = 200, .copying = 100, .placing = 700}),
            "limited by the receiver's files, 70 % of its lanes' time");
}

TEST(Limit, IsNotTheReceiverWhereOursAreBusyToo) {
  EXPECT_EQ(what_limited(lanes({.checksum = milliseconds(60), .socket = milliseconds(40)}),
                         wire::LaneTimesFrame{.waiting = 100, .copying = 900}),
            "limited by the sender's CPU: checksums, 60 % of lane time");
}

TEST(Limit, OfAFileIsToldByWhatIsDoneWithIt) {
  const LaneTimes disk{
      .read = milliseconds(20), .checksum = milliseconds(20), .place = milliseconds(60)};
  EXPECT_EQ(what_limited_in_file(lanes(disk), FileWork::save),
            "limited by writing the file, 60 % of lane time");
  EXPECT_EQ(what_limited_in_file(lanes(disk), FileWork::load),
            "limited by writing to the guest's memory or image, 60 % of lane time");
  const LaneTimes reading{.read = milliseconds(75), .checksum = milliseconds(25)};
  EXPECT_EQ(what_limited_in_file(lanes(reading), FileWork::save),
            "limited by reading the guest's memory or image, 75 % of lane time");
  EXPECT_EQ(what_limited_in_file(lanes(reading), FileWork::load),
            "limited by reading the file, 75 % of lane time");
  EXPECT_EQ(what_limited_in_file(lanes({.bandwidth = milliseconds(10)}), FileWork::save),
            "limited by the bound on bandwidth, 100 % of lane time");
  EXPECT_EQ(what_limited_in_file(lanes({.read = milliseconds(1)}), FileWork::load), "");
}

TEST(Limit, IsNotSaidOfTooLittle) {
  EXPECT_EQ(what_limited(lanes({.copy = milliseconds(1)}), {}), "");
  EXPECT_EQ(what_limited({}, {}), "");
}

}  // namespace
}  // namespace ferry
