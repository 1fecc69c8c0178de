// Programs of others that a case is measured beside, and cases that go without.
#pragma once

#include <string>
#include <string_view>

#include "ferry/result.h"

namespace ferry::bench {

/// Where a program is; Errc::unsupported where it is not on the path.
Result<std::string> find_program(const std::string& name);

/// Says on standard error that a case is skipped, and why.
void say_skipped(std::string_view name, const Error& why);

}  // namespace ferry::bench
