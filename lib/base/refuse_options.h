// Addresses with options that nobody knows.
#pragma once

#include <string>

#include "ferry/result.h"
#include "ferry/uri.h"

namespace ferry {

/// Errc::usage where a URI has options although its transport knows none: whoever gives tcp a key
/// believes that it encrypts. `act` begins the error.
Result<void> refuse_options(const Uri& uri, const std::string& act);

}  // namespace ferry
