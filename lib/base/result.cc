#include "ferry/result.h"

#include <cctype>
#include <cstring>

namespace ferry {

std::string_view to_string(Errc code) noexcept {
  switch (code) {
    case Errc::cancelled:
      return "cancelled";
    case Errc::timed_out:
      return "timed_out";
    case Errc::disconnected:
      return "disconnected";
    case Errc::refused:
      return "refused";
    case Errc::protocol:
      return "protocol";
    case Errc::integrity:
      return "integrity";
    case Errc::auth:
      return "auth";
    case Errc::unsupported:
      return "unsupported";
    case Errc::unreachable:
      return "unreachable";
    case Errc::usage:
      return "usage";
    case Errc::system:
      return "system";
    case Errc::guest:
      return "guest";
    case Errc::not_converging:
      return "not_converging";
  }
  return "unknown";
}

std::string Error::text() const {
  std::string line = context;
  if (sys != 0) {
    char buffer[128];
    std::string why = strerror_r(sys, buffer, sizeof buffer);
    // "Connection refused" reads as the middle of a line; "RDMA ..." keeps its capitals.
    if (why.size() > 1 && !std::isupper(static_cast<unsigned char>(why[1]))) {
      why[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(why[0])));
    }
    line += ": " + why;
  }
  if (!remedy.empty()) line += " (" + remedy + ")";
  return line;
}

}  // namespace ferry
