#include "snapshot/lane_crew.h"

#include <fmt/format.h>

#include <utility>

#include "loop/thread.h"

namespace ferry {

LaneCrew::~LaneCrew() {
  ending_.request_stop();
  join();
}

Result<void> LaneCrew::start(const char* name, unsigned lanes, Body body) {
  for (unsigned lane = 0; lane < lanes; ++lane) {
    threads_.push_back(
        FERRY_TRY(start_thread(fmt::format("{}-{}", name, lane).c_str(), [this, lane, body] {
          if (auto done = body(lane, ending()); !done) cancel(std::move(done).error());
        })));
  }
  return {};
}

Result<void> LaneCrew::finish() {
  join();
  if (auto error = first_.get()) return std::unexpected(std::move(*error));
  return {};
}

void LaneCrew::cancel(Error why) {
  first_.set(std::move(why));
  ending_.request_stop();
}

void LaneCrew::join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace ferry
