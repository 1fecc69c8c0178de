// What a session costs beside its pages: channels that are connected, greeted and closed, and
// strangers at the door.
#pragma once

#include <string>
#include <vector>

#include "bench/cases.h"
#include "ferry/result.h"
#include "ferry/unique_fd.h"

namespace ferry::bench {

/// Connections that say nothing, for as long as this lives.
class SilentPeers {
 public:
  /// Connects `count` times to a receiver at `uri` (tcp, loopback), and returns when the receiver
  /// has accepted them all. Needs as many descriptors.
  static Result<SilentPeers> connect(const std::string& uri, unsigned count);

 private:
  std::vector<UniqueFd> connections_;
};

/// A session of as many channels as there may be, over one page, from the first connect to the end
/// of both sides.
Result<void> control_plane(const Plan& plan, const Report& report);

/// A transfer beside a thousand silent peers, and the same without them.
Result<void> silent_peers(const Plan& plan, const Report& report);

}  // namespace ferry::bench
