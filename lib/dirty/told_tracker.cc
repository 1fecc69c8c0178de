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

class Merged final : public DirtyTracker {
 public:
  explicit Merged(std::vector<DirtyTracker*> trackers) : trackers_(std::move(trackers)) {}

  Result<void> start() override {
    for (DirtyTracker* tracker : trackers_) {
      auto started = tracker->start();
      if (started) continue;
      stop();
      return started;
    }
    return {};
  }

  Result<void> harvest(DirtyBitmap& into) override {
    for (DirtyTracker* tracker : trackers_) FERRY_TRY(tracker->harvest(into));
    return {};
  }

  void stop() noexcept override {
    for (DirtyTracker* tracker : trackers_) tracker->stop();
  }

 private:
  std::vector<DirtyTracker*> trackers_;
};

}  // namespace

std::unique_ptr<DirtyTracker> merge_trackers(std::vector<DirtyTracker*> trackers) {
  return std::make_unique<Merged>(std::move(trackers));
}

}  // namespace ferry
