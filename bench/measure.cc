#include "bench/measure.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace ferry::bench {
namespace {

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

Usage usage_of(const rusage& used) {
  return {.cpu_seconds = seconds_of(used.ru_utime) + seconds_of(used.ru_stime),
          .page_faults = static_cast<std::uint64_t>(used.ru_minflt + used.ru_majflt),
          .peak_rss_bytes = static_cast<std::uint64_t>(used.ru_maxrss) * 1024};
}

Usage usage_so_far(const SystemCalls* calls) {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  Usage usage = usage_of(used);
  if (calls != nullptr) usage.system_calls = calls->so_far();
  return usage;
}

Usage operator-(const Usage& later, const Usage& earlier) {
  Usage between{.cpu_seconds = later.cpu_seconds - earlier.cpu_seconds,
                .page_faults = later.page_faults - earlier.page_faults,
                .peak_rss_bytes = later.peak_rss_bytes};
  if (later.system_calls && earlier.system_calls) {
    between.system_calls = *later.system_calls - *earlier.system_calls;
  }
  return between;
}

double median(std::vector<double> values) {
  assert(!values.empty());
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  if (values.size() % 2 == 1) return values[middle];
  return (values[middle - 1] + values[middle]) / 2;
}

double median_of(const std::vector<Run>& runs, const std::function<double(const Run&)>& quantity) {
  std::vector<double> values;
  for (const Run& run : runs) values.push_back(quantity(run));
  return median(std::move(values));
}

std::vector<double> ratios(const Runs& runs) {
  std::vector<double> result;
  for (std::size_t i = 0; i < runs.limit.size(); ++i) {
    result.push_back(runs.limit[i].seconds / runs.ferry[i].seconds);
  }
  return result;
}

double ratio_of_pairs(const Runs& runs) {
  const std::vector<double> pairs = ratios(runs);
  std::vector<double> means;
  for (auto first = pairs.begin(); first != pairs.end(); ++first) {
    for (auto second = first; second != pairs.end(); ++second) {
      means.push_back(std::sqrt(*first * *second));
    }
  }
  return median(std::move(means));
}

double ratio_of_best(const Runs& runs) {
  return std::ranges::min(runs.limit, {}, &Run::seconds).seconds /
         std::ranges::min(runs.ferry, {}, &Run::seconds).seconds;
}

Result<Runs> in_pairs(unsigned repeats, const std::function<Result<Run>()>& ferry,
                      const std::function<Result<Run>()>& limit) {
  Runs runs;
  for (unsigned i = 0; i <= repeats; ++i) {
    const bool limit_first = i % 2 == 1;
    const Run first = FERRY_TRY(limit_first ? limit() : ferry());
    const Run second = FERRY_TRY(limit_first ? ferry() : limit());
    if (i == 0) continue;
    runs.ferry.push_back(limit_first ? second : first);
    runs.limit.push_back(limit_first ? first : second);
  }
  return runs;
}

Result<Runs> alone(unsigned repeats, const std::function<Result<Run>()>& ferry) {
  Runs runs;
  for (unsigned i = 0; i <= repeats; ++i) {
    const Run run = FERRY_TRY(ferry());
    if (i > 0) runs.ferry.push_back(run);
  }
  return runs;
}

double both_cpu_seconds(const Run& run) { return run.send.cpu_seconds + run.receive.cpu_seconds; }

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

}  // namespace ferry::bench
