// Addresses that tests put together, and what they do with them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "ferry/transport.h"
#include "ferry/uri.h"

namespace ferry::test {

inline Uri tcp(std::string host, std::uint16_t port) {
  Uri uri;
  uri.scheme = "tcp";
  uri.host = std::move(host);
  uri.port = port;
  return uri;
}

/// Drops the channel as soon as there is one.
inline Task<void> connect_and_drop(EventLoop& loop, Transport& transport, Uri to) {
  std::unique_ptr<Channel> channel = co_await transport.connect(loop, std::move(to));
}

}  // namespace ferry::test
