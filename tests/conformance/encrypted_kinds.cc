#include <utility>

#include "channels/tls_key.h"
#include "tests/channels/tls_ends.h"
#include "tests/conformance/channel_kinds.h"

namespace ferry::test {
namespace {

/// TLS on both ends of a line, with one key, which is replaced all the time.
Task<Ends> encrypt(EventLoop& loop, Ends plain) {
  const TlsKey key = co_await fresh_tls_key();
  TlsPeer peer;
  peer.name = plain.ours->info().peer;
  peer.records_per_key = 3;
  BothEnds lines(std::move(plain.ours), std::move(plain.theirs));
  lines = co_await secure_both(loop, std::move(lines), key, key, std::move(peer));
  Ends ends;
  ends.ours = std::move(lines.first);
  ends.theirs = std::move(lines.second);
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
