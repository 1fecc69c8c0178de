// A transport that is not one of Ferry's own: `seqpacket:///PATH`, packets over a UNIX socket.
#pragma once

#include <ferry/ferry.h>

#include <memory>

/// For Runtime::add().
std::unique_ptr<ferry::Transport> make_seqpacket_transport();
