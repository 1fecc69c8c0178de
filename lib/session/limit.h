// What limited a migration, in one sentence.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "ferry/report.h"
#include "wire/control.h"

namespace ferry {

/// From where the lanes' time went here and, as far as it is known, there. "limited by the
/// receiver's memory: first-touch page faults, 61 % of its lanes' time". Empty where the lanes did
/// too little to say. Pure.
std::string what_limited(std::span<const LaneReport> sender,
                         const std::optional<wire::LaneTimesFrame>& receiver);

/// The same of the lanes of a file, by what they did with it. Pure.
enum class FileWork { save, load };
std::string what_limited_in_file(std::span<const LaneReport> lanes, FileWork work);

}  // namespace ferry
