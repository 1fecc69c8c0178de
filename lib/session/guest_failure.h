// What a guest, or its tracker, could not do.
#pragma once

#include <string>
#include <string_view>

#include "ferry/result.h"

namespace ferry {

/// `error` as Errc::guest, behind what was asked of the guest.
inline std::unexpected<Error> of_guest(Error error, std::string_view act) {
  error.code = Errc::guest;
  error.context = std::string(act) + ": " + error.context;
  return std::unexpected(std::move(error));
}

}  // namespace ferry
