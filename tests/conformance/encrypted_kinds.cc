#include <utility>

#include "channels/tls_context.h"
#include "channels/tls_handshake.h"
#include "channels/tls_key.h"
#include "tests/conformance/channel_kinds.h"

namespace ferry::test {
namespace {

/// TLS on both ends of a line, with one key, which is replaced all the time.
Task<Ends> encrypt(EventLoop& loop, Ends plain) {
  const TlsKey key = co_await fresh_tls_key();
  auto client = co_await TlsContext::with_key(TlsSide::client, key);
  auto server = co_await TlsContext::with_key(TlsSide::server, key);
  TlsPeer peer;
  peer.name = plain.ours->info().peer;
  peer.records_per_key = 3;
  std::vector<Task<std::unique_ptr<Channel>>> both;
  both.push_back(secure(loop, std::move(plain.ours), std::move(client), peer));
  both.push_back(secure(loop, std::move(plain.theirs), std::move(server), peer));
  std::vector<std::unique_ptr<Channel>> channels = co_await loop.all(std::move(both));
  Ends ends;
  ends.ours = std::move(channels[0]);
  ends.theirs = std::move(channels[1]);
  co_return std::move(ends);
}

}  // namespace

std::vector<ChannelKind> encrypted(std::vector<ChannelKind> kinds) {
  for (ChannelKind& kind : kinds) {
    kind.name = "Tls" + kind.name;
    kind.passes_fds = PassesFds::no;  // they would travel beside the encrypted bytes
    kind.quiet_destruction = QuietDestruction::is_a_cut;
    kind.loud_destruction = LoudDestruction::is_a_cut;
    kind.connect = [plain = kind.connect](LoopThread& runner) -> Result<Ends> {
      return runner.run(encrypt(runner.loop(), FERRY_TRY(plain(runner))));
    };
  }
  return kinds;
}

}  // namespace ferry::test
