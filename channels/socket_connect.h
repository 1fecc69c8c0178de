// What the transports over sockets share: connecting and accepting, as Tasks.
#pragma once

#include <string>

#include "channels/socket_address.h"
#include "ferry/event_loop.h"
#include "ferry/result.h"
#include "ferry/task.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// A non-blocking, close-on-exec stream socket. Errc::unreachable where the family is not there,
/// Errc::system where descriptors are short.
Result<UniqueFd> open_stream_socket(int family, const std::string& act);

/// Connects `socket`, which is non-blocking. `act` ("connect tcp://node7:4446") begins the error:
/// Errc::unreachable. The caller's deadline bounds the wait; dropping the Task closes the socket.
Task<UniqueFd> connect_socket(EventLoop& loop, UniqueFd socket, SocketAddress to, std::string act);

/// The next connection of a listening, non-blocking socket, which stays the caller's and must
/// outlive the Task. Goes on through peers that left before they were accepted, and waits where
/// descriptors are short. The new socket is blocking and close-on-exec. Errc::system.
Task<UniqueFd> accept_socket(EventLoop& loop, int listener, std::string act);

Result<void> set_option(int socket, int level, int option, int value, const std::string& act);

/// Clears O_NONBLOCK. Only for sockets that we opened ourselves.
Result<void> make_blocking(int socket, const std::string& act);

}  // namespace ferry
