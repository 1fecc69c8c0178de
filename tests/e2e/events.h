// What a command said with --json.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

namespace ferry {

/// Every line parsed; a line that is no JSON object fails the test.
std::vector<nlohmann::json> events_of(std::string_view text);

}  // namespace ferry
