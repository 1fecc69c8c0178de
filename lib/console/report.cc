#include "console/report.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "console/amounts.h"

namespace ferry {
namespace {

using Json = nlohmann::ordered_json;
using std::chrono::nanoseconds;

double in_milliseconds(nanoseconds time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

/// A duration of a report, and what it is called.
template <class Struct>
struct Named {
  std::string_view name;
  nanoseconds Struct::*part;
};

constexpr std::array k_downtime = {
    Named{"pause", &DowntimeReport::pause},
    Named{"memory", &DowntimeReport::memory},
    Named{"state", &DowntimeReport::state},
    Named{"state_memory", &DowntimeReport::state_memory},
    Named{"digests", &DowntimeReport::digests},
    Named{"prepare", &DowntimeReport::prepare},
    Named{"commit", &DowntimeReport::commit},
};

constexpr std::array k_lane_times = {
    Named{"read", &LaneTimes::read},         Named{"scan", &LaneTimes::scan},
    Named{"checksum", &LaneTimes::checksum}, Named{"encrypt", &LaneTimes::encrypt},
    Named{"copy", &LaneTimes::copy},         Named{"socket", &LaneTimes::socket},
    Named{"receiver", &LaneTimes::receiver}, Named{"bandwidth", &LaneTimes::bandwidth},
    Named{"place", &LaneTimes::place},       Named{"idle", &LaneTimes::idle},
};

template <class Struct, std::size_t N>
Json milliseconds_of(const Struct& times, const std::array<Named<Struct>, N>& names) {
  Json object = Json::object();
  for (const auto& [name, part] : names) object[std::string(name)] = in_milliseconds(times.*part);
  return object;
}

/// "pause 0.1, memory 12.4": what is not 0.
template <class Struct, std::size_t N>
std::string words_of(const Struct& times, const std::array<Named<Struct>, N>& names) {
  std::string text;
  for (const auto& [name, part] : names) {
    if ((times.*part).count() == 0) continue;
    text +=
        fmt::format("{}{} {:.1f}", text.empty() ? "" : ", ", name, in_milliseconds(times.*part));
  }
  return text;
}

Json json_of(const RoundReport& round) {
  return {{"round", round.round},
          {"guest_ran", round.guest_ran},
          {"bytes", round.bytes},
          {"pages", round.pages},
          {"wire_bytes", round.wire_bytes},
          {"suspect", round.suspect},
          {"ms", in_milliseconds(round.time)},
          {"bandwidth", round.bandwidth},
          {"dirty_bytes", round.dirty_bytes},
          {"dirty_rate", round.dirty_rate}};
}

Json json_of(const LaneReport& lane) {
  return {{"lane", lane.lane},
          {"wire_bytes", lane.wire_bytes},
          {"placed_bytes", lane.placed_bytes},
          {"packets", lane.packets},
          {"resent", lane.resent},
          {"replacements", lane.replacements},
          {"zero_copy_fallbacks", lane.zero_copy_fallbacks},
          {"ms", milliseconds_of(lane.times, k_lane_times)}};
}

std::string text_of(const LaneReport& lane, Proof proof) {
  const std::string times = words_of(lane.times, k_lane_times);
  if (proof != Proof::transcript) {
    return fmt::format("lane {}: {} in the file in {} pieces; ms: {}\n", lane.lane,
                       bytes_text(lane.wire_bytes), lane.packets, times);
  }
  const std::string placed =
      lane.placed_bytes == 0 ? ""
                             : fmt::format(", {} of them placed", bytes_text(lane.placed_bytes));
  const std::string lines =
      lane.replacements == 0 ? "" : fmt::format(" of {} channels", lane.replacements + 1);
  return fmt::format("lane {}: {} on the line{} in {} packets{}, {} resent; ms: {}\n", lane.lane,
                     bytes_text(lane.wire_bytes), lines, lane.packets, placed, lane.resent, times);
}

}  // namespace

std::string report_json(const Report& report) {
  Json rounds = Json::array();
  for (const RoundReport& round : report.each_round) rounds.push_back(json_of(round));
  Json lanes = Json::array();
  for (const LaneReport& lane : report.lanes) lanes.push_back(json_of(lane));
  Json object{{"limit", report.limit}, {"rounds", rounds}, {"lanes", lanes}};
  if (report.downtime.count() > 0) {
    object["downtime_ms"] = in_milliseconds(report.downtime);
    object["downtime"] = milliseconds_of(report.downtime_parts, k_downtime);
    object["throttle"] = report.throttle;
  }
  object["state_bytes"] = report.state_bytes;
  object["state_sections"] = report.state_sections;
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string report_text(const Report& report) {
  std::string text;
  for (const RoundReport& round : report.each_round) {
    text += fmt::format(
        "round {}{}: {} of memory in {}, {} on the line at {}; {} dirty ({})", round.round,
        round.guest_ran ? "" : ", guest paused", bytes_text(round.bytes), seconds_text(round.time),
        bytes_text(round.wire_bytes), rate_text(static_cast<double>(round.bandwidth)),
        bytes_text(round.dirty_bytes), rate_text(static_cast<double>(round.dirty_rate)));
    if (round.suspect > 0) text += fmt::format(", {} suspect", round.suspect);
    text += '\n';
  }
  if (report.downtime.count() > 0) {
    text += fmt::format("downtime {:.1f} ms: {}\n", in_milliseconds(report.downtime),
                        words_of(report.downtime_parts, k_downtime));
  }
  for (const LaneReport& lane : report.lanes) text += text_of(lane, report.proof);
  if (!report.limit.empty()) text += report.limit + '\n';
  return text;
}

}  // namespace ferry
