// What a run costs, and what several of them say together.
#pragma once

#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/system_calls.h"
#include "ferry/result.h"

namespace ferry::bench {

using Clock = std::chrono::steady_clock;

/// What one process used.
struct Usage {
  double cpu_seconds = 0;  ///< user and system
  std::uint64_t page_faults = 0;
  std::uint64_t peak_rss_bytes = 0;             ///< of the whole process, mapped files included
  std::optional<std::uint64_t> system_calls{};  ///< nothing where they were not counted
};
Usage usage_of(const rusage& used);
/// What this process has used so far; its system calls where something counts them.
Usage usage_so_far(const SystemCalls* calls = nullptr);
/// What was used between two looks; the peak is the later one's.
Usage operator-(const Usage& later, const Usage& earlier);

/// One measured run. A run that is one process only has nothing in `receive`.
struct Run {
  double seconds = 0;
  /// Of them, those of the rounds: from the first page to the answer that all of them are there.
  /// Nothing where that is not known, as of a run without Ferry.
  std::optional<double> pages_seconds{};
  Usage send{};
  Usage receive{};
  std::string cipher{};  ///< what encrypted it, where that is known
};

/// Of both sides together.
double both_cpu_seconds(const Run& run);

/// Runs of two programs that were measured in turns: pair i is ferry[i] and limit[i].
struct Runs {
  std::vector<Run> ferry;
  std::vector<Run> limit;  ///< empty where there is nothing to compare with
};

/// The median; the mean of the middle two where there is no middle. `values` must not be empty.
double median(std::vector<double> values);

/// The median of one quantity over several runs.
double median_of(const std::vector<Run>& runs, const std::function<double(const Run&)>& quantity);

/// The pairs' ratios, limit's seconds to ferry's: 1 is as fast as the limit, less is slower.
std::vector<double> ratios(const Runs& runs);

/// What the pairs say together: the estimate of Hodges and Lehmann ("Estimates of location based on
/// rank tests", 1963), of the ratios' logarithms. It is the median of the geometric means of every
/// two pairs, and of each with itself. One run in four may be as far off as it likes; and where
/// runs come in two kinds, now the one and now the other program's, as on a disk beneath a host
/// that takes memory back, the pairs' own median is the one kind or the other by a coin's toss.
double ratio_of_pairs(const Runs& runs);

/// The ratio of the fastest runs of each: what is left where others only ever add to a run's time.
double ratio_of_best(const Runs& runs);

/// Runs both in turns, so that a machine that grows slower or faster meanwhile does it to both.
/// Every other pair begins with the limit. One more pair comes first and is not counted.
Result<Runs> in_pairs(unsigned repeats, const std::function<Result<Run>()>& ferry,
                      const std::function<Result<Run>()>& limit);

/// The same for a case that has no limit.
Result<Runs> alone(unsigned repeats, const std::function<Result<Run>()>& ferry);

double seconds_between(Clock::time_point begin, Clock::time_point end);

}  // namespace ferry::bench
