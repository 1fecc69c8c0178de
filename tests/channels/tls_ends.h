// Both ends of a line, encrypted.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "channels/tls_context.h"
#include "channels/tls_handshake.h"
#include "ferry/channel.h"
#include "ferry/event_loop.h"
#include "ferry/task.h"

namespace ferry::test {

using BothEnds = std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>>;

/// Shakes hands at both ends of `plain`: the first is the client, the second the server.
inline Task<BothEnds> secure_both(EventLoop& loop, BothEnds plain, TlsKey client_key,
                                  TlsKey server_key, TlsPeer peer) {
  auto client = co_await TlsContext::with_key(TlsSide::client, client_key);
  auto server = co_await TlsContext::with_key(TlsSide::server, server_key);
  std::vector<Task<std::unique_ptr<Channel>>> both;
  both.push_back(secure(loop, std::move(plain.first), std::move(client), peer));
  both.push_back(secure(loop, std::move(plain.second), std::move(server), peer));
  std::vector<std::unique_ptr<Channel>> channels = co_await loop.all(std::move(both));
  BothEnds ends(std::move(channels[0]), std::move(channels[1]));
  co_return std::move(ends);
}

}  // namespace ferry::test
