// A listener over a listener, whose peers have to shake hands first.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "ferry/event_loop.h"
#include "ferry/task.h"
#include "ferry/transport.h"
#include "ferry/uri.h"

namespace ferry {

/// Makes the finished channel of one that `inner` has accepted, or fails.
using ShakeHands = std::function<Task<std::unique_ptr<Channel>>(std::unique_ptr<Channel> inner)>;

/// Yields what `shake_hands` makes of `inner`'s channels, in order of completion. Peers shake hands
/// beside one another, each as a Task with a deadline of its own, and a bounded number of them at a
/// time: the oldest makes room. A failure of Errc::auth is told to whoever accepts, who may go on;
/// any other peer that fails is sent away without a word about it. `local` is what local() says,
/// and its scheme is what peers are called by.
///
/// On the loop's thread. `shake_hands` outlives its Tasks here, and owns what they use.
std::unique_ptr<Listener> make_handshake_listener(EventLoop& loop, std::unique_ptr<Listener> inner,
                                                  Uri local, ShakeHands shake_hands);

}  // namespace ferry
