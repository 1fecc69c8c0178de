#include "bench/report.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <thread>

#include "bench/data.h"

namespace ferry::bench {
namespace {

using nlohmann::ordered_json;

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

ordered_json machine() {
  utsname names{};
  ::uname(&names);
  return {{"cpu", cpu_model()},
          {"cores", std::thread::hardware_concurrency()},
          {"kernel", names.release},
          {"architecture", names.machine}};
}

double rate(const Finding& finding, const Run& run) {
  return static_cast<double>(finding.bytes) / run.seconds / 1e9;
}

double cpu_per_gib(const Finding& finding, const Usage& usage) {
  return usage.cpu_seconds / (static_cast<double>(finding.bytes) / static_cast<double>(k_gib));
}

/// The medians of one side, in the units of the finding.
ordered_json side(const Finding& finding, const std::vector<Run>& runs, Usage Run::*which) {
  ordered_json result;
  if (finding.bytes > 0) {
    result["cpu_seconds_per_gib"] =
        median_of(runs, [&](const Run& run) { return cpu_per_gib(finding, run.*which); });
  }
  const bool counted = std::ranges::all_of(
      runs, [&](const Run& run) { return (run.*which).system_calls.has_value(); });
  if (finding.bytes > 0 && counted) {
    result["system_calls_per_gib"] = median_of(runs, [&](const Run& run) {
      return static_cast<double>(*(run.*which).system_calls) * static_cast<double>(k_gib) /
             static_cast<double>(finding.bytes);
    });
  }
  result["page_faults"] = median_of(
      runs, [&](const Run& run) { return static_cast<double>((run.*which).page_faults); });
  result["peak_rss_bytes"] = median_of(
      runs, [&](const Run& run) { return static_cast<double>((run.*which).peak_rss_bytes); });
  return result;
}

bool has_receiver(const std::vector<Run>& runs) {
  return std::ranges::any_of(runs, [](const Run& run) { return run.receive.cpu_seconds > 0; });
}

ordered_json program(const Finding& finding, const std::vector<Run>& runs) {
  ordered_json result;
  result["seconds"] = median_of(runs, [](const Run& run) { return run.seconds; });
  if (finding.bytes > 0) {
    result["gb_per_second"] = median_of(runs, [&](const Run& run) { return rate(finding, run); });
  }
  const bool two_sides = has_receiver(runs);
  result[two_sides ? "send" : "process"] = side(finding, runs, &Run::send);
  if (two_sides) result["receive"] = side(finding, runs, &Run::receive);
  for (const Run& run : runs) result["runs_seconds"].push_back(run.seconds);
  return result;
}

std::string amount(const Bar& bar, double value) {
  if (bar.figure == "seconds") return fmt::format("{:.3f} s", value);
  if (bar.figure.find("bytes") != std::string::npos) {
    return fmt::format("{:.1f} MiB", value / static_cast<double>(k_mib));
  }
  return fmt::format("{:.3f}", value);
}

std::string rate_text(const Finding& finding, const std::vector<Run>& runs) {
  if (runs.empty() || finding.bytes == 0) return "-";
  return fmt::format("{:.2f}", median_of(runs, [&](const Run& run) { return rate(finding, run); }));
}

/// Of a finding that has no bar to reach: what it is, how fast, and what it cost.
std::string table_line(const Finding& finding) {
  const auto cpu = [&](Usage Run::*which) {
    return median_of(finding.runs.ferry,
                     [&](const Run& run) { return cpu_per_gib(finding, run.*which); });
  };
  return fmt::format(
      "{:<14} {:>9} {:>4} {:>11} {:>11}  {:<27} {:>10}  cpu s/GiB {:.2f} + {:.2f}\n",
      finding.transport.empty() ? finding.name : finding.transport + " " + finding.memory,
      finding.bytes / k_mib, finding.channels, rate_text(finding, finding.runs.ferry),
      rate_text(finding, finding.runs.limit), "ratio",
      fmt::format("{:.3f}", ratio_of_pairs(finding.runs)), cpu(&Run::send), cpu(&Run::receive));
}

/// Which of several of its name it is.
std::string which_text(const Finding& finding) {
  if (finding.transport.empty() && finding.memory.empty()) return {};
  return fmt::format("  {} {}", finding.transport, finding.memory);
}

}  // namespace

std::string json_line(const Finding& finding, const Plan& plan) {
  ordered_json line;
  line["case"] = finding.name;
  line["version"] = FERRY_VERSION;
  line["compiler"] = __VERSION__;
  line["machine"] = machine();
  line["parameters"] = {{"bytes", finding.bytes},
                        {"repeats", plan.repeats},
                        {"folder", plan.folder},
                        {"poller", plan.commands.poller}};
  if (finding.channels > 0) line["parameters"]["channels"] = finding.channels;
  if (!finding.transport.empty()) line["parameters"]["transport"] = finding.transport;
  if (!finding.memory.empty()) line["parameters"]["memory"] = finding.memory;
  if (!finding.tracker.empty()) line["parameters"]["tracker"] = finding.tracker;
  if (!finding.runs.ferry.empty()) line["ferry"] = program(finding, finding.runs.ferry);
  if (!finding.runs.limit.empty()) {
    line["limit"] = program(finding, finding.runs.limit);
    line["limit"]["what"] = finding.against;
    line["ratios"] = ratios(finding.runs);
  }
  for (const Bar& bar : finding.bars) {
    line["bars"].push_back({{"figure", bar.figure},
                            {"measured", bar.measured},
                            {bar.side == Bar::Side::at_least ? "at_least" : "at_most", bar.limit},
                            {"reached", bar.reached()}});
  }
  for (const Figure& figure : finding.figures) line["figures"][figure.name] = figure.measured;
  return line.dump();
}

std::string table_head() {
  return fmt::format("{:<14} {:>9} {:>4} {:>11} {:>11}  {:<27} {:>10}  {}", "case", "MiB", "ch",
                     "Ferry GB/s", "limit GB/s", "figure", "measured", "bar");
}

std::string table_lines(const Finding& finding) {
  std::string lines;
  if (finding.bars.empty()) return table_line(finding);
  for (const Bar& bar : finding.bars) {
    lines +=
        fmt::format("{:<14} {:>9} {:>4} {:>11} {:>11}  {:<27} {:>10}  {} {} {}{}\n", finding.name,
                    finding.bytes / k_mib, finding.channels, rate_text(finding, finding.runs.ferry),
                    rate_text(finding, finding.runs.limit), bar.figure, amount(bar, bar.measured),
                    bar.side == Bar::Side::at_least ? ">=" : "<=", amount(bar, bar.limit),
                    bar.reached() ? "reached" : "MISSED", which_text(finding));
  }
  return lines;
}

}  // namespace ferry::bench
