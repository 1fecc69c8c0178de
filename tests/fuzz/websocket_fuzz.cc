// What a peer may say to a WebSocket: as a request for one, as the answer to ours, and as frames.
#include <algorithm>
#include <string_view>

#include "channels/websocket_engine.h"
#include "tests/fuzz/fuzz_target.h"

namespace ferry::fuzz {
namespace {

using Engine = WebsocketEngine;

/// The first byte says how much arrives at once.
class Line {
 public:
  explicit Line(std::span<const std::byte> input)
      : most_(input.empty() ? 1 : 1 + std::to_integer<std::size_t>(input[0])),
        rest_(input.empty() ? input : input.subspan(1)) {}

  /// False when there is no more.
  bool feed(Engine& engine) {
    if (rest_.empty()) return false;
    const std::span<const iovec> room = engine.room();
    demand(!room.empty() && room[0].iov_len > 0, "who wants more has room for it");
    const std::size_t some = std::min({most_, room[0].iov_len, rest_.size()});
    std::copy_n(rest_.begin(), some, static_cast<std::byte*>(room[0].iov_base));
    engine.arrived(some);
    rest_ = rest_.subspan(some);
    return true;
  }

 private:
  const std::size_t most_;
  std::span<const std::byte> rest_;
};

bool shake_hands(Engine& engine, Line& line) {
  for (;;) {
    const auto step = engine.shake_hands();
    if (!step) return false;
    if (*step == Engine::Handshake::done) return true;
    if (!line.feed(engine)) return false;
  }
}

void read_all(Engine& engine, Line& line, Engine::Target target) {
  Bytes room(3000);
  const iovec pieces[] = {{room.data(), 1}, {room.data() + 1, 0}, {room.data() + 1, 2999}};
  for (;;) {
    const auto plain = engine.decode(pieces, target);
    if (!plain || plain->finished) return;
    demand(plain->bytes <= room.size(), "no more is read than there is room for");
    if (plain->bytes == 0 && !line.feed(engine)) return;
  }
}

void as_server(std::span<const std::byte> input, Engine::Target target) {
  const auto engine = Engine::server(Engine::make_context(), "/ferry");
  Line line(input);
  if (shake_hands(*engine, line)) read_all(*engine, line, target);
}

void as_client(std::span<const std::byte> input) {
  const auto engine = Engine::client(Engine::make_context(), {.host = "a", .target = "/"});
  Line line(input);
  if (shake_hands(*engine, line)) read_all(*engine, line, Engine::Target::callers);
}

/// Frames alone, behind a request that is good.
void as_frames(std::span<const std::byte> input, Engine::Target target) {
  constexpr std::string_view k_request =
      "GET /ferry HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";
  Bytes all{std::byte{255}};
  for (const char c : k_request) all.push_back(static_cast<std::byte>(c));
  const auto engine = Engine::server(Engine::make_context(), "/ferry");
  Line request(all);
  demand(shake_hands(*engine, request), "a good request is taken");
  Line frames(input);
  read_all(*engine, frames, target);
}

}  // namespace
}  // namespace ferry::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ferry::fuzz;
  const Bytes input = bytes_of(data, size);
  as_server(input, Engine::Target::own);
  as_client(input);
  as_frames(input, Engine::Target::callers);
  as_frames(input, Engine::Target::own);
  return 0;
}
