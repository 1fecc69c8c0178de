// Reaching a host that has several addresses, by RFC 8305 ("Happy Eyeballs").
#pragma once

#include <chrono>
#include <vector>

#include "channels/tcp_socket.h"
#include "ferry/event_loop.h"
#include "ferry/task.h"
#include "ferry/unique_fd.h"
#include "ferry/uri.h"
#include "loop/socket_address.h"

namespace ferry {

/// RFC 8305 section 5, "Connection Attempt Delay": how long an address may take before the next one
/// is tried beside it.
inline constexpr std::chrono::milliseconds k_connection_attempt_delay{250};

/// The addresses in turns of IPv6 and IPv4, each once, so that a family that leads nowhere delays
/// by one attempt and not by all of its addresses: RFC 8305 section 4, with a "First Address Family
/// Count" of 1. Within a family, and as to which comes first, the resolver's order stands.
std::vector<SocketAddress> in_turns_of_families(std::vector<SocketAddress> addresses);

/// A connected, blocking socket with its line options set, to the first of the addresses that
/// answers. They are tried one after another, k_connection_attempt_delay apart, and the next one at
/// once when one has failed. Errc::unreachable where none answers, with the reason of each;
/// Errc::system where descriptors are short. `to` is the name for messages.
Task<UniqueFd> connect_to_first(EventLoop& loop, Uri to, std::vector<SocketAddress> addresses,
                                TcpKind kind);

}  // namespace ferry
