#include "channels/tls_handshake.h"

#include <fcntl.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "channels/kernel_tls.h"
#include "channels/tls_channel.h"
#include "channels/tls_engine.h"
#include "loop/async_io.h"

namespace ferry {
namespace {

enum class Blocking { yes, no };

/// The length of what follows a record's header.
Result<std::size_t> record_length(std::span<const std::byte> header) {
  const auto byte = [header](std::size_t at) { return std::to_integer<std::size_t>(header[at]); };
  constexpr std::size_t k_first_type = 20;
  constexpr std::size_t k_last_type = 23;
  const std::size_t length = (byte(3) << 8) | byte(4);
  if (byte(0) < k_first_type || byte(0) > k_last_type || byte(1) != 3 ||
      length > TlsEngine::k_most_record_bytes - TlsEngine::k_record_header_bytes) {
    return fail(Errc::protocol, "it does not speak TLS", "do both sides say tls://?");
  }
  return length;
}

/// No byte more than one record: what follows the handshake is the channel's to read.
Task<std::vector<std::byte>> read_record(EventLoop& loop, Channel& inner) {
  std::vector<std::byte> record(TlsEngine::k_record_header_bytes);
  co_await read_exactly(loop, inner, std::span<std::byte>(record));
  const std::size_t length = co_await record_length(record);
  record.resize(TlsEngine::k_record_header_bytes + length);
  co_await read_exactly(loop, inner,
                        std::span<std::byte>(record).subspan(TlsEngine::k_record_header_bytes));
  co_return std::move(record);
}

void take_in(TlsEngine& engine, std::span<const std::byte> record) {
  const std::span<std::byte> room = engine.room();
  assert(record.size() <= room.size());  // TLS has taken every earlier one
  std::ranges::copy(record, room.begin());
  engine.arrived(record.size());
}

Task<void> shake_hands(EventLoop& loop, Channel& inner, TlsEngine& engine) {
  for (;;) {
    Result<TlsEngine::Handshake> step = engine.shake_hands();
    std::vector<std::byte> outgoing;
    engine.take_outgoing(outgoing);
    if (!step) {
      // Bounded by itself: the peer's patience must not turn the reason into a time-out.
      co_await say_last_words(loop, inner, std::move(outgoing));
      Result<void> failed = std::unexpected(std::move(step).error());
      co_await std::move(failed);
    }
    if (!outgoing.empty()) co_await write_all(loop, inner, std::move(outgoing));
    if (*step == TlsEngine::Handshake::done) co_return;
    if (*step == TlsEngine::Handshake::wants_output) {
      co_await loop.ready(inner.facets().pollable->fd(), Interest::write);
      continue;
    }
    const std::vector<std::byte> record = co_await read_record(loop, inner);
    take_in(engine, record);
  }
}

/// The socket that the kernel may take over; -1 where there is none.
int socket_for_kernel(Channel& inner) {
  const Pollable* const pollable = inner.facets().pollable;
  if (pollable == nullptr || !KernelTls::may_serve(pollable->fd())) return -1;
  return pollable->fd();
}

/// Nobody else has this socket: a TCP line is made by its transport for us alone.
Result<void> set_blocking(int socket, Blocking blocking) {
  const int flags = ::fcntl(socket, F_GETFL);
  const int wanted = blocking == Blocking::yes ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
  if (flags >= 0 && ::fcntl(socket, F_SETFL, wanted) == 0) return {};
  return fail_sys(Errc::system, errno, "set a socket up for TLS");
}

}  // namespace

Task<std::unique_ptr<Channel>> secure(EventLoop& loop, std::unique_ptr<Channel> inner,
                                      std::shared_ptr<const TlsContext> context, TlsPeer peer) {
  TlsEngine::Options options;
  options.server_name = peer.server_name;
  options.records_per_key = peer.records_per_key;
  if (peer.records == TlsRecords::kernel) options.socket = socket_for_kernel(*inner);
  const int socket = options.socket;
  options.keeper.sessions = std::move(peer.sessions);
  options.keeper.receiver = peer.name + " as " + peer.server_name + " by " + context->fingerprint();
  std::unique_ptr<TlsEngine> engine =
      co_await TlsEngine::create(std::move(context), std::move(options));
  if (socket >= 0) co_await set_blocking(socket, Blocking::no);
  Result<void> shaken = co_await shake_hands(loop, *inner, *engine).caught();
  if (!shaken) {
    Error error = std::move(shaken).error();
    error.context = "shake hands with " + peer.name + ": " + error.context;
    co_return std::unexpected(std::move(error));
  }
  if (socket >= 0) co_await set_blocking(socket, Blocking::yes);
  ChannelInfo info;
  info.scheme = std::move(peer.scheme);
  info.local = inner->info().local;
  info.peer = std::move(peer.name);
  info.encrypted = true;
  info.pages_in_clear = inner->facets().placed_io != nullptr;
  info.cipher = engine->suite();
  info.kernel_tls = engine->kernel_sends();
  if (peer.records == TlsRecords::kernel && !info.kernel_tls) {
    info.shortfall = KernelTls::shortfall();
  }
  info.within_host = inner->info().within_host;
  std::unique_ptr<Channel> channel =
      co_await TlsChannel::create(std::move(inner), std::move(engine), std::move(info));
  co_return std::move(channel);
}

}  // namespace ferry
