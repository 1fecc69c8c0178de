// An example, run as its user would run it.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/e2e/events.h"
#include "tests/e2e/process.h"

namespace ferry {

using Words = std::vector<std::string>;

/// The process, and the events that it has printed.
class ExampleRun {
 public:
  ExampleRun(std::string program, Words arguments);

  int wait() { return process_.wait(); }
  /// Blocks until it has printed such an event; null when it ends without.
  nlohmann::json wait_for(const std::string& event);
  /// The event of this name; null where it was not printed.
  nlohmann::json event(const std::string& name) const;
  std::string all() const { return process_.out() + process_.err(); }
  Process& process() noexcept { return process_; }

 private:
  Process process_;
};

/// Why an example cannot run on this machine; nothing where it can.
std::optional<std::string> why_not_here(const std::string& program);

}  // namespace ferry
