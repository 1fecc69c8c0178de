// What is measured, and the bar that each figure has to reach.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/command_run.h"
#include "bench/measure.h"
#include "ferry/event_loop.h"
#include "ferry/result.h"

namespace ferry::bench {

/// What the caller of the benchmark chooses.
struct Plan {
  unsigned repeats = 5;                  ///< pairs that count
  std::uint64_t bytes = 1073741824;      ///< of memory, or of an image
  std::vector<unsigned> channels{1, 2};  ///< each case that has channels runs with each of these
  std::string folder = "/dev/shm";       ///< that `scratch` is in: a tmpfs, or a disk is measured
  std::string scratch;                   ///< a folder for images and outputs
  PollerKind poller = PollerKind::automatic;  ///< what Ferry waits with
  Commands commands;
  std::string qemu{"qemu-system-x86_64"};  ///< what the cases memory-qemu and snapshot-qemu run
  std::string guest_image;  ///< a guest's memory, for the cases of snapshots; empty: there is none
};
/// A file in the plan's folder.
std::string scratch_path(const Plan& plan, std::string_view what);

/// A limit on one figure, and what was measured of it.
struct Bar {
  enum class Side { at_least, at_most };
  std::string figure;  ///< its unit is in its name
  double measured = 0;
  Side side = Side::at_least;
  double limit = 0;
  bool reached() const { return side == Side::at_least ? measured >= limit : measured <= limit; }
};

/// One that has none.
struct Figure {
  std::string name;  ///< its unit is in it
  double measured = 0;
};

/// One measured case.
struct Finding {
  std::string name;
  std::string against;  ///< what `runs.limit` is; empty where there is none
  std::uint64_t bytes = 0;
  unsigned channels = 0;  ///< 0 where it has none
  Runs runs;
  std::vector<Bar> bars;
  std::string transport{};        ///< where it is one of several
  std::string memory{};           ///< likewise: what the memory holds
  std::string tracker{};          ///< of a guest that runs: what finds out its writes
  std::vector<Figure> figures{};  ///< that have no bar
};

/// Called with each finding as soon as it is there.
using Report = std::function<void(const Finding&)>;

struct Case {
  std::string_view name;
  std::string_view what;
  Result<void> (*run)(const Plan& plan, const Report& report);
};
const std::vector<Case>& all_cases();

}  // namespace ferry::bench
