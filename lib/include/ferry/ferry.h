// All of Ferry.
#pragma once

#include "ferry/bandwidth.h"
#include "ferry/channel.h"
#include "ferry/device_state.h"
#include "ferry/dirty_trackers.h"
#include "ferry/event_loop.h"
#include "ferry/guest.h"
#include "ferry/io_thread.h"
#include "ferry/memory.h"
#include "ferry/place.h"
#include "ferry/report.h"
#include "ferry/result.h"
#include "ferry/runtime.h"
#include "ferry/snapshot.h"
#include "ferry/task.h"
#include "ferry/transport.h"
#include "ferry/unique_fd.h"
#include "ferry/uri.h"

namespace [[gnu::visibility("default")]] ferry {

/// A Runtime that knows every transport of this build.
Result<std::unique_ptr<Runtime>> make_runtime(const RuntimeOptions& options = {});

}  // namespace ferry
