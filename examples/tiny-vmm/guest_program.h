// What the guest runs: guest_program.cc has it, in assembly.
#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/walk.h"

namespace example {

/// The program's machine code, to be put at k_code. It is the same walk as step() in common/walk.h,
/// by registers only:
///
///   rdi  the next page        rsi, r8  its slice: begin and end
///   r9   the pass             r10      pages between two heartbeats
///   r11  errors so far        r12      heartbeats so far
///   r13  its mailbox          rdx      the port of its heartbeats
///
/// xmm0 holds the pass too, so that registers of the FPU are looked at as well. A heartbeat is an
/// `out` of the errors; the VMM then writes the number of heartbeats to the mailbox, as a device
/// would, and the guest checks that it is there.
std::span<const std::byte> guest_program();

inline constexpr std::uint16_t k_heartbeat_port = 0x510;

kvm_regs registers_for(const Walk& walk, std::uint64_t pages_a_beat, unsigned vcpu);
Walk walk_in(const kvm_regs& registers);

}  // namespace example
