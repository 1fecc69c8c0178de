// A vCPU straight into 64-bit user mode: what firmware and a kernel would have prepared.
#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace example {

/// Where the VMM puts what the guest needs to run, in bytes of guest memory. The guest's own memory
/// begins at k_data.
inline constexpr std::uint64_t k_page_tables = 0x1000;
inline constexpr std::uint64_t k_code = 0x8000;
inline constexpr std::uint64_t k_mailboxes = 0x9000;  ///< a page for each vCPU, 64 at most
inline constexpr std::uint64_t k_page_directories = 0x100000;
inline constexpr std::uint64_t k_data = 0x200000;
inline constexpr std::uint64_t k_most_memory = std::uint64_t{240} << 30;

/// Maps every guest address to itself, by pages of 2 MiB that user mode may write and run. Accessed
/// and dirty bits are set from the start, so that the processor never writes to the tables.
void write_page_tables(std::span<std::byte> memory);

/// `sregs`, as a new vCPU has them, turned into 64-bit mode with these page tables at CPL 3. The
/// guest takes no interrupts and handles no faults: it has no kernel.
///
/// Why CPL 3: where KVM itself runs in a virtual machine, it may run user mode natively and emulate
/// kernel mode, a thousand times slower. On ordinary hosts it makes no difference.
kvm_sregs in_user_mode(kvm_sregs sregs);

/// For kvm_regs::rflags: IOPL 3, so that user mode may use ports.
inline constexpr std::uint64_t k_user_flags = 0x3002;

}  // namespace example
