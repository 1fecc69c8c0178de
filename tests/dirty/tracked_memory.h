// Memory with a tracker, and somebody who writes to it and knows the truth.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "ferry/dirty_trackers.h"

namespace ferry::test {

/// One unit of memory.
struct Unit {
  RegionId region = 0;
  std::uint64_t index = 0;
};

/// Two regions, and the parts that a kind of tracker brings. write() may be called by one thread
/// while another one uses the tracker.
class TrackedMemory {
 public:
  virtual ~TrackedMemory() = default;
  virtual const GuestMemory& memory() const = 0;
  virtual DirtyTracker& tracker() = 0;
  /// Has `value` written to the first word of each unit, and returns when it was. Units lie in
  /// memory in whole.
  virtual void write(const std::vector<Unit>& units, std::uint64_t value) = 0;
};

/// A kind of tracker, and a kind of writer.
struct Kind {
  std::string name;
  /// Errc::unsupported where this machine has not the means.
  Result<std::unique_ptr<TrackedMemory>> (*make)();
};
inline void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

std::vector<Kind> kinds_without_kvm();
/// None where the build has no examples/tiny-vmm, whose machine they run.
std::vector<Kind> kinds_with_kvm();

/// The first word of a unit, which others may write at the same time.
std::uint64_t first_word(const GuestMemory& memory, Unit unit);

}  // namespace ferry::test
