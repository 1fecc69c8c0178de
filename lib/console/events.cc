#include "console/events.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "base/escape.h"
#include "console/amounts.h"
#include "console/report.h"

namespace ferry {
namespace {

using Json = nlohmann::ordered_json;

double in_seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

std::string listening_event(const Uri& local, std::string_view command) {
  return Json{{"event", "listening"}, {"uri", escaped(local.text())}, {"command", escaped(command)}}
      .dump();
}

std::string progress_event(const Progress& progress) {
  return Json{{"event", "progress"},
              {"bytes_done", progress.bytes_done},
              {"bytes_total", progress.bytes_total},
              {"wire_bytes", progress.wire_bytes},
              {"seconds", in_seconds(progress.elapsed)}}
      .dump();
}

std::string warning_event(std::string_view text) {
  return Json{{"event", "warning"}, {"message", escaped(text)}}.dump();
}

std::string done_event(const Report& report, const Usage& usage) {
  Json event{{"event", "done"},
             {"bytes", report.bytes},
             {"wire_bytes", report.wire_bytes},
             {"placed_bytes", report.placed_bytes},
             {"zero_bytes", report.zero_bytes},
             {"seconds", in_seconds(report.elapsed)},
             {"throughput_bytes_per_second", rate_of(report.bytes, report.elapsed)},
             {"channels", report.channels},
             {"rounds", report.rounds},
             {"verify", report.verify == Verify::full ? "full" : "pages"},
             {"encrypted", !report.cipher.empty() && report.placed_bytes == 0},
             {"cipher", report.cipher},
             {"kernel_tls", report.kernel_tls},
             {"resent", report.resent},
             {"suspect", report.suspect},
             {"replacements", report.replacements},
             {"refused", report.refused},
             {"zero_copy_fallbacks", report.zero_copy_fallbacks},
             {"cpu_seconds", usage.cpu_seconds},
             {"peak_memory_bytes", usage.peak_memory_bytes}};
  // An image never ran, and has no downtime.
  if (report.downtime.count() > 0) event["downtime_ms"] = in_seconds(report.downtime) * 1000;
  event["report"] = Json::parse(report_json(report));
  return event.dump();
}

std::string failed_event(const Error& error) {
  return Json{
      {"event", "failed"}, {"code", to_string(error.code)}, {"message", escaped(error.text())}}
      .dump();
}

std::string unknown_event(const Error& error) {
  return Json{{"event", "unknown"}, {"message", escaped(error.text())}}.dump();
}

}  // namespace ferry
