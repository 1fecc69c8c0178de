// What the errno of a line means.
#pragma once

#include <cerrno>
#include <string>

#include "ferry/result.h"

namespace ferry {

/// Does this errno say that the line is gone, rather than that a call was wrong?
constexpr bool is_cut(int sys) noexcept {
  switch (sys) {
    case ECONNRESET:
    case EPIPE:
    case ETIMEDOUT:
    case ENOTCONN:
    case ECONNABORTED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case EBADMSG:  // of kernel TLS, where the line went away under a record
      return true;
    default:
      return false;
  }
}

/// The failure of a read or a write, which `act` names.
inline Error line_failure(int sys, const std::string& act) {
  return {is_cut(sys) ? Errc::disconnected : Errc::system, sys, act, {}};
}

}  // namespace ferry
