// Addresses that tests put together.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "ferry/uri.h"

namespace ferry::test {

inline Uri tcp(std::string host, std::uint16_t port) {
  Uri uri;
  uri.scheme = "tcp";
  uri.host = std::move(host);
  uri.port = port;
  return uri;
}

}  // namespace ferry::test
