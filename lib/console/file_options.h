// How a command moves the bytes of a file.
#pragma once

#include <vector>

#include "console/command_line.h"
#include "ferry/place.h"
#include "ferry/result.h"

namespace ferry {

std::vector<OptionSpec> with_file_options(std::vector<OptionSpec> own);

/// Errc::usage.
Result<FileOptions> file_options(const CommandLine& line);

}  // namespace ferry
