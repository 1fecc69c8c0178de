// A header of an HTTP request, as people give it.
#pragma once

#include <string>
#include <string_view>

#include "ferry/result.h"
#include "ferry/runtime.h"

namespace ferry {

/// Errc::usage where it could not stand in a request, or is one that the upgrade itself needs.
Result<void> check_websocket_header(const WebsocketHeader& header);

}  // namespace ferry
