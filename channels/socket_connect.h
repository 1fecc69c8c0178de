// What the transports over sockets share: opening and connecting.
#pragma once

#include <string>

#include "ferry/event_loop.h"
#include "ferry/result.h"
#include "ferry/task.h"
#include "ferry/unique_fd.h"
#include "ferry/uri.h"
#include "loop/socket_address.h"

namespace ferry {

/// Does this errno say that the process, or the host, is short of descriptors or memory?
bool is_shortage(int sys) noexcept;

/// A non-blocking, close-on-exec stream socket; protocol 0 is the family's own. Errc::unreachable
/// where the family is not there, Errc::system where descriptors are short.
Result<UniqueFd> open_stream_socket(int family, const std::string& act, int protocol = 0);

/// Connects `socket`, which is non-blocking. `act` ("connect tcp://node7:4446") begins the error:
/// Errc::unreachable. The caller's deadline bounds the wait; dropping the Task closes the socket.
Task<UniqueFd> connect_socket(EventLoop& loop, UniqueFd socket, SocketAddress to, std::string act);

Result<void> set_option(int socket, int level, int option, int value, const std::string& act);

/// Clears O_NONBLOCK. Only for sockets that we opened ourselves.
Result<void> make_blocking(int socket, const std::string& act);

}  // namespace ferry
