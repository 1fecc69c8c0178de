// What a migration did, for scripts and for people who look closely.
#pragma once

#include <string>

#include "ferry/report.h"

namespace ferry {

/// One JSON object, on one line: rounds, downtime by its parts, lanes and where their time went,
/// device state, and what limited it. Times are in milliseconds, rates in bytes per second.
std::string report_json(const Report& report);

/// The same as a page of text: a line a round, a line for the downtime, a line a lane, and the
/// sentence.
std::string report_text(const Report& report);

}  // namespace ferry
