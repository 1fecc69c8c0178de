// A transport whose channels a test holds in its hands.
#pragma once

#include <functional>
#include <memory>

#include "ferry/transport.h"

namespace ferry::test {

/// Makes a channel of a channel.
using Wrap = std::function<std::unique_ptr<Channel>(std::unique_ptr<Channel>)>;

/// `inner`, with every channel that it connects, or accepts, wrapped. Empty: left as it is.
std::unique_ptr<Transport> wrap_lines(std::unique_ptr<Transport> inner, Wrap connected,
                                      Wrap accepted);

}  // namespace ferry::test
