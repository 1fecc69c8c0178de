// From a connected channel to a WebSocket.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "channels/websocket_engine.h"
#include "ferry/channel.h"
#include "ferry/event_loop.h"
#include "ferry/task.h"

namespace ferry {

/// Half of the shortest time-out that proxies are known to have by default (30 s), and some less.
inline constexpr std::chrono::milliseconds k_ping_after{10'000};

/// Upgrades `inner` by `engine`, and gives the channel over it. `name` is the peer in errors and
/// ChannelInfo: "ws://node7:4446/ferry"; its scheme becomes the channel's. Errc::refused where the
/// peer answers with another status, Errc::protocol where it speaks no WebSocket: it is told so, as
/// far as it listens. The caller bounds the time.
Task<std::unique_ptr<Channel>> upgrade(EventLoop& loop, std::unique_ptr<Channel> inner,
                                       std::unique_ptr<WebsocketEngine> engine, std::string name,
                                       std::chrono::milliseconds ping_after = k_ping_after);

}  // namespace ferry
