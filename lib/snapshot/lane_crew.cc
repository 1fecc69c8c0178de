#include "snapshot/lane_crew.h"

#include <fmt/format.h>

#include "loop/thread.h"

namespace ferry {
namespace {

// Runs that wait: enough that no lane does.
constexpr std::size_t k_waiting_runs = 64;

}  // namespace

LaneCrew::LaneCrew() : work_(k_waiting_runs, k_waiting_runs / 2) {}

LaneCrew::~LaneCrew() {
  work_.close();
  join();
}

Result<void> LaneCrew::start(const char* name, unsigned lanes, Body body) {
  for (unsigned lane = 0; lane < lanes; ++lane) {
    threads_.push_back(
        FERRY_TRY(start_thread(fmt::format("{}-{}", name, lane).c_str(), [this, lane, body] {
          if (auto done = body(lane, work_, ending_.get_token()); !done)
            cancel(std::move(done).error());
        })));
  }
  return {};
}

Result<void> LaneCrew::finish() {
  if (work_.wait_empty()) work_.close();
  join();
  if (auto error = first_.get()) return std::unexpected(std::move(*error));
  return {};
}

void LaneCrew::cancel(Error why) {
  first_.set(std::move(why));
  work_.close();
  ending_.request_stop();
}

void LaneCrew::join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace ferry
