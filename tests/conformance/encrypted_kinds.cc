#include <cerrno>
#include <string>
#include <utility>

#include "channels/tls_key.h"
#include "tests/channels/tls_ends.h"
#include "tests/conformance/channel_kinds.h"

namespace ferry::test {
namespace {

/// TLS on both ends of a line, with one key, which is replaced all the time where we encrypt.
Task<Ends> encrypt(EventLoop& loop, Ends plain, TlsRecords records) {
  const TlsKey key = co_await fresh_tls_key();
  TlsPeer peer;
  peer.name = plain.ours->info().peer;
  peer.records = records;
  if (records == TlsRecords::ours) peer.records_per_key = 3;
  BothEnds lines(std::move(plain.ours), std::move(plain.theirs));
  lines = co_await secure_both(loop, std::move(lines), key, key, std::move(peer));
  Ends ends;
  ends.ours = std::move(lines.first);
  ends.theirs = std::move(lines.second);
  co_return std::move(ends);
}

}  // namespace

namespace {

std::vector<ChannelKind> encrypted(std::vector<ChannelKind> kinds, const std::string& prefix,
                                   TlsRecords records) {
  for (ChannelKind& kind : kinds) {
    kind.name = prefix + kind.name;
    kind.passes_fds = PassesFds::no;  // they would travel beside the encrypted bytes
    kind.quiet_destruction = QuietDestruction::is_a_cut;
    kind.loud_destruction = LoudDestruction::is_a_cut;
    kind.connect = [plain = kind.connect, records](LoopThread& runner) -> Result<Ends> {
      Ends ends = FERRY_TRY(runner.run(encrypt(runner.loop(), FERRY_TRY(plain(runner)), records)));
      for (const Channel* end : {ends.ours.get(), ends.theirs.get()}) {
        if (end->info().shortfall.empty()) continue;
        return fail_sys(Errc::unsupported, EAFNOSUPPORT, end->info().shortfall);
      }
      return ends;
    };
  }
  return kinds;
}

}  // namespace

std::vector<ChannelKind> encrypted(std::vector<ChannelKind> kinds) {
  return encrypted(std::move(kinds), "Tls", TlsRecords::ours);
}

std::vector<ChannelKind> encrypted_by_the_kernel(std::vector<ChannelKind> kinds) {
  return encrypted(std::move(kinds), "KernelTls", TlsRecords::kernel);
}

}  // namespace ferry::test
