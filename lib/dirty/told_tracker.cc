#include <algorithm>
#include <utility>

#include "ferry/dirty_trackers.h"

namespace ferry {

ToldTracker::ToldTracker(const Layout& layout) : written_(layout) {}

void ToldTracker::wrote(const PageRun& run) {
  const std::lock_guard lock(mutex_);
  if (started_) written_.mark(run);
}

Result<void> ToldTracker::start() {
  const std::lock_guard lock(mutex_);
  written_.clear_all();
  started_ = true;
  return {};
}

Result<void> ToldTracker::harvest(DirtyBitmap& into) {
  const std::lock_guard lock(mutex_);
  into.merge(written_);
  written_.clear_all();
  return {};
}

void ToldTracker::stop() noexcept {
  const std::lock_guard lock(mutex_);
  started_ = false;
}

namespace {

class Merged final : public DirtyTracker, private GradualTracking {
 public:
  explicit Merged(std::vector<DirtyTracker*> trackers) : trackers_(std::move(trackers)) {}

  Result<void> start() override {
    return start_each([](DirtyTracker& tracker) { return tracker.start(); });
  }

  Result<void> harvest(DirtyBitmap& into) override {
    for (DirtyTracker* tracker : trackers_) FERRY_TRY(tracker->harvest(into));
    return {};
  }

  void stop() noexcept override {
    for (DirtyTracker* tracker : trackers_) tracker->stop();
  }

  /// Those that can begin gradually do; the others watch everything from the start.
  GradualTracking* gradual() noexcept override {
    const auto can = [](DirtyTracker* tracker) { return tracker->gradual() != nullptr; };
    return std::ranges::any_of(trackers_, can) ? this : nullptr;
  }

 private:
  Result<void> begin() override {
    return start_each([](DirtyTracker& tracker) {
      GradualTracking* const gradual = tracker.gradual();
      return gradual != nullptr ? gradual->begin() : tracker.start();
    });
  }

  Result<void> watch(const PageRun& run) override {
    for (DirtyTracker* tracker : trackers_) {
      if (GradualTracking* const gradual = tracker->gradual()) FERRY_TRY(gradual->watch(run));
    }
    return {};
  }

  /// All of them, or none.
  template <class Start>
  Result<void> start_each(Start start) {
    for (DirtyTracker* tracker : trackers_) {
      auto started = start(*tracker);
      if (started) continue;
      stop();
      return started;
    }
    return {};
  }

  std::vector<DirtyTracker*> trackers_;
};

}  // namespace

std::unique_ptr<DirtyTracker> merge_trackers(std::vector<DirtyTracker*> trackers) {
  return std::make_unique<Merged>(std::move(trackers));
}

}  // namespace ferry
