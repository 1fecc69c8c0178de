// Guests that run, and are migrated meanwhile.
#pragma once

#include "bench/cases.h"

namespace ferry::bench {

/// How long a guest that writes stands still, and what the rounds cost beside a plain copy.
Result<void> guest_downtime(const Plan& plan, const Report& report);
/// A guest that is idle, beside QEMU's multifd.
Result<void> guest_qemu(const Plan& plan, const Report& report);

}  // namespace ferry::bench
