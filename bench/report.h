// Findings for programs and for people.
#pragma once

#include <string>
#include <string_view>

#include "bench/cases.h"

namespace ferry::bench {

/// One line of JSON, without the newline: the case, its parameters, the machine and the version,
/// the medians of both programs, and every pair.
std::string json_line(const Finding& finding, const Plan& plan);

/// Says to people that a case cannot be measured here, and why.
void skip(std::string_view name, const Error& why);

/// The head of the table, and a finding's lines in it, one a bar.
std::string table_head();
std::string table_lines(const Finding& finding);

}  // namespace ferry::bench
