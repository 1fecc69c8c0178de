#include "bench/control_plane.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "bench/library_run.h"
#include "bench/measure.h"
#include "ferry/uri.h"

namespace ferry::bench {
namespace {

constexpr unsigned k_most_channels = 255;
constexpr unsigned k_silent_peers = 1000;
constexpr unsigned k_spare_descriptors = 1000;  // for everything else in the process

/// As many descriptors as a thousand connections and as many lanes need: the usual soft limit is
/// 1024. The sides of a run, which are forked, inherit it.
Result<void> allow_descriptors(rlim_t count) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= count) return {};
  limit.rlim_cur = std::min(count, limit.rlim_max);
  if (limit.rlim_cur >= count && ::setrlimit(RLIMIT_NOFILE, &limit) == 0) return {};
  return fail_sys(Errc::system, EMFILE, "allow enough open files", "see ulimit -n");
}

Result<UniqueFd> connect_once(const sockaddr_in& to) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd && ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return fd;
  return fail_sys(Errc::system, errno, "connect a silent peer");
}

/// Says what is no Hello, and waits for the refusal: whoever connected before has been accepted.
Result<void> wait_for_an_answer(const UniqueFd& connection) {
  const std::string nonsense(64, 'x');
  if (::send(connection.get(), nonsense.data(), nonsense.size(), MSG_NOSIGNAL) < 0) {
    return fail_sys(Errc::system, errno, "knock at the receiver");
  }
  char byte = 0;
  if (::recv(connection.get(), &byte, 1, 0) == 1) return {};
  return fail(Errc::protocol, "knock at the receiver: it has no answer");
}

}  // namespace

Result<SilentPeers> SilentPeers::connect(const std::string& uri, unsigned count) {
  SilentPeers peers;
  if (count == 0) return peers;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(FERRY_TRY(Uri::parse(uri)).port);
  for (unsigned i = 0; i < count; ++i) {
    peers.connections_.push_back(FERRY_TRY(connect_once(to)));
  }
  const UniqueFd last = FERRY_TRY(connect_once(to));
  FERRY_TRY(wait_for_an_answer(last));
  return peers;
}

Result<void> control_plane(const Plan& plan, const Report& report) {
  FERRY_TRY(allow_descriptors(k_most_channels + k_spare_descriptors));
  const Transfer transfer{.bytes = 4096, .channels = k_most_channels, .poller = plan.poller};
  Runs runs = FERRY_TRY(alone(plan.repeats, [&] { return ferry_memory(transfer); }));
  const double seconds = median_of(runs.ferry, [](const Run& run) { return run.seconds; });
  const Bar bar{"seconds", seconds, Bar::Side::at_most, 0.5};
  report({"control-plane", "", transfer.bytes, k_most_channels, std::move(runs), {bar}});
  return {};
}

Result<void> silent_peers(const Plan& plan, const Report& report) {
  FERRY_TRY(allow_descriptors(k_silent_peers + k_spare_descriptors));
  for (const unsigned channels : plan.channels) {
    const Transfer undisturbed{.bytes = plan.bytes, .channels = channels};
    Transfer disturbed = undisturbed;
    disturbed.silent_peers = k_silent_peers;
    Runs runs = FERRY_TRY(in_pairs(
        plan.repeats, [&] { return ferry_memory(disturbed); },
        [&] { return ferry_memory(undisturbed); }));
    const Bar bar{"ratio", ratio_of_pairs(runs), Bar::Side::at_least, 0.98};
    report({"silent-peers", "without them", plan.bytes, channels, std::move(runs), {bar}});
  }
  return {};
}

}  // namespace ferry::bench
