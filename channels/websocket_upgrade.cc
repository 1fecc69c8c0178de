#include "channels/websocket_upgrade.h"

#include <utility>
#include <vector>

#include "channels/websocket_channel.h"
#include "loop/async_io.h"

namespace ferry {
namespace {

Task<void> shake_hands(EventLoop& loop, Channel& inner, WebsocketEngine& engine) {
  for (bool ended = false;;) {
    Result<WebsocketEngine::Handshake> step = engine.shake_hands();
    std::vector<std::byte> outgoing;
    engine.take_outgoing(outgoing);
    if (!step) {
      co_await say_last_words(loop, inner, std::move(outgoing));
      Result<void> failed = std::unexpected(std::move(step).error());
      co_await std::move(failed);
    }
    if (!outgoing.empty()) co_await write_all(loop, inner, std::move(outgoing));
    if (*step == WebsocketEngine::Handshake::done) co_return;
    if (ended) co_await fail(Errc::disconnected, "the peer ended the line");
    const std::span<const iovec> room = engine.room();
    const std::size_t got = co_await read_some(loop, inner, room);
    ended = got == 0;
    if (ended) {
      engine.ended();
    } else {
      engine.arrived(got);
    }
  }
}

}  // namespace

Task<std::unique_ptr<Channel>> upgrade(EventLoop& loop, std::unique_ptr<Channel> inner,
                                       std::unique_ptr<WebsocketEngine> engine, std::string name,
                                       std::chrono::milliseconds ping_after) {
  Result<void> shaken = co_await shake_hands(loop, *inner, *engine).caught();
  if (!shaken) {
    Error error = std::move(shaken).error();
    error.context = "upgrade " + name + ": " + error.context;
    co_return std::unexpected(std::move(error));
  }
  ChannelInfo info = inner->info();
  info.scheme = name.substr(0, name.find(':'));
  info.peer = std::move(name);
  co_return std::make_unique<WebsocketChannel>(std::move(inner), std::move(engine), std::move(info),
                                               ping_after);
}

}  // namespace ferry
