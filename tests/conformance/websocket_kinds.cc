#include <utility>

#include "channels/websocket_upgrade.h"
#include "tests/conformance/channel_kinds.h"

namespace ferry::test {
namespace {

/// WebSocket on both ends of a line.
Task<Ends> upgrade_both(EventLoop& loop, Ends plain) {
  const auto context = WebsocketEngine::make_context();
  WebsocketEngine::Client asks;
  asks.host = "a test";
  asks.target = "/";
  std::vector<Task<std::unique_ptr<Channel>>> both;
  both.push_back(upgrade(loop, std::move(plain.ours),
                         WebsocketEngine::client(context, std::move(asks)), "ws://a-test:1"));
  both.push_back(upgrade(loop, std::move(plain.theirs), WebsocketEngine::server(context, ""),
                         "ws://a-test:2"));
  std::vector<std::unique_ptr<Channel>> channels = co_await loop.all(std::move(both));
  Ends ends;
  ends.ours = std::move(channels[0]);
  ends.theirs = std::move(channels[1]);
  co_return std::move(ends);
}

}  // namespace

std::vector<ChannelKind> over_websocket(std::vector<ChannelKind> kinds) {
  for (ChannelKind& kind : kinds) {
    kind.name = "Ws" + kind.name;
    kind.passes_fds = PassesFds::no;
    kind.quiet_destruction = QuietDestruction::is_a_cut;
    kind.connect = [plain = kind.connect](LoopThread& runner) -> Result<Ends> {
      return runner.run(upgrade_both(runner.loop(), FERRY_TRY(plain(runner))));
    };
  }
  return kinds;
}

}  // namespace ferry::test
