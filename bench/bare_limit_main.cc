// bare-limit recv OUT BYTES CHANNELS: prints "listening on PORT", receives a file, and ends.
// bare-limit send IMAGE PORT CHANNELS: sends one, and ends.
//
// The pair of commands that migrate-recv and migrate-send are measured beside.

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "bench/bare_limit.h"

namespace ferry::bench {
namespace {

Result<void> receive(const std::string& path, std::uint64_t bytes, unsigned channels) {
  BareListener listener = FERRY_TRY(BareListener::create());
  fmt::print("listening on {}\n", listener.address());
  std::fflush(stdout);
  return listener.receive_file(path, bytes, channels);
}

Result<void> run(const std::vector<std::string>& words) {
  if (words.size() == 4 && (words[0] == "recv" || words[0] == "send")) {
    const std::uint64_t number = std::strtoull(words[2].c_str(), nullptr, 10);
    const auto channels = static_cast<unsigned>(std::strtoul(words[3].c_str(), nullptr, 10));
    if (channels > 0) {
      if (words[0] == "recv") return receive(words[1], number, channels);
      return bare_send_file(words[1], words[2], channels);
    }
  }
  return fail(Errc::usage, "bare-limit: recv OUT BYTES CHANNELS, or send IMAGE PORT CHANNELS");
}

}  // namespace
}  // namespace ferry::bench

int main(int argc, char** argv) {
  const ferry::Result<void> done = ferry::bench::run({argv + 1, argv + argc});
  if (done) return 0;
  fmt::print(stderr, "{}\n", done.error().text());
  return done.error().code == ferry::Errc::usage ? 2 : 1;
}
