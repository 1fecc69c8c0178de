#include "multifd/lane_clock.h"

#include <sys/resource.h>

#include <algorithm>

namespace ferry {
namespace {

std::chrono::nanoseconds of(const timeval& time) noexcept {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

}  // namespace

Stretch::Stretch() noexcept : begin_(std::chrono::steady_clock::now()), used_(used()) {}

Stretch::Used Stretch::used() noexcept {
  rusage usage{};
  (void)::getrusage(RUSAGE_THREAD, &usage);
  return {of(usage.ru_utime) + of(usage.ru_stime), static_cast<std::uint64_t>(usage.ru_minflt)};
}

std::chrono::nanoseconds Stretch::wall() const noexcept {
  return std::chrono::steady_clock::now() - begin_;
}

LaneTimes Stretch::in_channel(std::chrono::nanoseconds encrypted) const noexcept {
  const std::chrono::nanoseconds passed = wall();
  const std::chrono::nanoseconds worked =
      std::clamp(used().cpu - used_.cpu, encrypted, std::max(passed, encrypted));
  return {.encrypt = encrypted,
          .copy = worked - encrypted,
          .socket = std::max(passed - worked, std::chrono::nanoseconds{})};
}

std::uint64_t Stretch::page_faults() const noexcept { return used().faults - used_.faults; }

}  // namespace ferry
