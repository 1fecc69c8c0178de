// The sockets that the transport tcp works with.
#pragma once

#include <string>

#include "ferry/result.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// What a socket of the transport tcp speaks. An MPTCP socket talks to plain TCP peers as well: it
/// then is plain TCP.
enum class TcpKind { plain, multipath };

/// A non-blocking, close-on-exec socket. One that was to be multipath is plain where this kernel
/// has no MPTCP, or has it switched off. Errc::unreachable where the family is not there,
/// Errc::system where descriptors are short.
Result<UniqueFd> open_tcp_socket(int family, TcpKind kind, const std::string& act);

/// What every line has set: no delay, and probes that end one whose peer is gone. Errc::system.
Result<void> set_line_options(int socket, const std::string& act);

/// Of a connected TCP socket whose peer is at the same address: less is queued for sending, so that
/// what was sent is in the processor's cache still when the peer comes to it. There is no
/// round trip that a large queue would fill, but where the kernel passes the address on to another
/// host: there it is slower. Does nothing to any other socket.
void queue_little_to_own_address(int socket) noexcept;

/// Do both ends of a connected socket speak MPTCP?
bool is_multipath(int socket) noexcept;

/// Why a line that was to be multipath is not, as a line for people.
std::string why_not_multipath();

}  // namespace ferry
