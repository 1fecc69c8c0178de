// How long single pages of a snapshot take.
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "bench/data.h"
#include "bench/process.h"
#include "bench/snapshot.h"
#include "ferry/ferry.h"

namespace ferry::bench {
namespace {

constexpr unsigned k_pages = 20'000;

/// Microseconds a page.
struct Latency {
  double median = 0;
  double p99 = 0;
};

/// Pages in no order, each timed by itself.
Result<Latency> fetch_pages(const std::string& snapshot, std::uint64_t units) {
  const auto runtime = FERRY_TRY(make_runtime());
  const auto opened = FERRY_TRY(Snapshot::open(*runtime, "file://" + snapshot));
  std::mt19937_64 random(1);
  std::vector<std::byte> page(k_unit_bytes);
  std::vector<double> times;
  times.reserve(k_pages);
  for (unsigned i = 0; i < k_pages; ++i) {
    const Clock::time_point begin = Clock::now();
    FERRY_TRY(opened->fetch({0, random() % units * k_unit_bytes, page.size()}, page));
    times.push_back(seconds_between(begin, Clock::now()) * 1e6);
  }
  std::ranges::sort(times);
  return Latency{times[k_pages / 2], times[k_pages / 100 * 99]};
}

/// In a process of its own: a Runtime has threads, and this one forks.
Result<Latency> fetch_pages_in_a_child(const std::string& snapshot, std::uint64_t units) {
  Process child = FERRY_TRY(Process::fork([&](int out) -> Result<void> {
    const Latency seen = FERRY_TRY(fetch_pages(snapshot, units));
    write_line(out, fmt::format("{} {}", seen.median, seen.p99));
    return {};
  }));
  std::istringstream line(FERRY_TRY(child.read_line()));
  Latency seen;
  if (!(line >> seen.median >> seen.p99)) return fail(Errc::protocol, "read a side's figures");
  FERRY_TRY(child.wait());
  return seen;
}

}  // namespace

Result<void> snapshot_pages(const Plan& plan, const Report& report) {
  const ScratchFile image(scratch_path(plan, "pages.img"));
  const ScratchFile snapshot(scratch_path(plan, "pages.ferry"));
  FERRY_TRY(in_a_child([&] { return make_random_image(image.path(), plan.bytes); }));
  Process save = FERRY_TRY(Process::start(
      {plan.commands.send, "--quiet", "--buffered", image.path(), "file://" + snapshot.path()}));
  FERRY_TRY(save.wait());
  for (const char* state : {"cached", "disk"}) {
    if (std::string_view(state) == "disk") FERRY_TRY(forget(snapshot.path()));
    const Latency seen =
        FERRY_TRY(fetch_pages_in_a_child(snapshot.path(), plan.bytes / k_unit_bytes));
    report({"snapshot-page",
            "",
            plan.bytes,
            0,
            {},
            {{"median_microseconds_a_page", seen.median, Bar::Side::at_most, 1000},
             {"p99_microseconds_a_page", seen.p99, Bar::Side::at_most, 10'000}},
            "",
            state});
  }
  return {};
}

}  // namespace ferry::bench
