// What encryption costs: Ferry over tls, beside what the cipher allows, and beside QEMU.
#pragma once

#include "bench/cases.h"
#include "ferry/result.h"

namespace ferry::bench {

/// Memory, and an image through the commands, over tls with a key for one session. Beside them is
/// what two cores could do (with_cipher()). Visibly skipped where there is no command openssl.
Result<void> memory_tls(const Plan& plan, const Report& report);
Result<void> image_tls(const Plan& plan, const Report& report);

/// Memory over tls with certificates, beside QEMU's multifd with the same number of channels, the
/// same certificates and the same cipher. Visibly skipped where there is no QEMU.
Result<void> memory_qemu(const Plan& plan, const Report& report);

}  // namespace ferry::bench
