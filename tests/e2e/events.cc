#include "tests/e2e/events.h"

#include <gtest/gtest.h>

#include "tests/e2e/scene.h"

namespace ferry {

std::vector<nlohmann::json> events_of(std::string_view text) {
  std::vector<nlohmann::json> events;
  for (const std::string& line : lines_of(text)) {
    auto event = nlohmann::json::parse(line, nullptr, false);
    EXPECT_TRUE(event.is_object()) << line;
    events.push_back(std::move(event));
  }
  return events;
}

}  // namespace ferry
