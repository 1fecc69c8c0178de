#include "snapshot/queue_crew.h"

#include <utility>

namespace ferry {
namespace {

// Runs that wait: enough that no lane does.
constexpr std::size_t k_waiting_runs = 64;

}  // namespace

QueueCrew::QueueCrew()
    : work_(k_waiting_runs, k_waiting_runs / 2),
      on_ending_(crew_.ending(), [this] { work_.close(); }) {}

QueueCrew::~QueueCrew() { work_.close(); }

Result<void> QueueCrew::start(const char* name, unsigned lanes, Body body) {
  return crew_.start(name, lanes,
                     [this, body = std::move(body)](unsigned lane, const std::stop_token& ending) {
                       return body(lane, work_, ending);
                     });
}

Result<void> QueueCrew::finish() {
  if (work_.wait_empty()) work_.close();
  return crew_.finish();
}

}  // namespace ferry
