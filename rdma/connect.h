// How a line over RDMA comes to be, on either side.
#pragma once

#include <memory>
#include <string>

#include "ferry/event_loop.h"
#include "ferry/task.h"
#include "loop/socket_address.h"
#include "rdma/line.h"
#include "rdma/pinned.h"
#include "rdma/verbs.h"

namespace ferry {

/// A line to this address, begun. `domains` outlives the Task. `act` ("connect rdma://node7:4446")
/// begins errors: Errc::unreachable, also where no device serves the address; Errc::system where
/// memory cannot be pinned. The caller's deadline bounds it; dropping the Task closes it.
Task<std::unique_ptr<RdmaLine>> connect_line(EventLoop& loop, Verbs& verbs, PinningDomains& domains,
                                             SocketAddress to, std::string act);

/// The line of a peer that asks, begun.
Task<std::unique_ptr<RdmaLine>> answer_line(EventLoop& loop, PinningDomains& domains, Caller caller,
                                            std::string act);

}  // namespace ferry
