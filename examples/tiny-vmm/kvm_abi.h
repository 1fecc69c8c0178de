// Structs of KVM's that end in an array whose length the caller chooses.
//
// Seen from C++, Debian 12's linux/kvm.h has them a word longer than they are (an empty struct has
// a size there), and so their ioctls by wrong numbers. These are the right ones.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace example {

struct Counted {
  std::uint32_t count;
  std::uint32_t padding;
};

template <class Entry, std::size_t n>
struct CountedEntries {
  Counted header{n, 0};  ///< in: how many there is room for; out: how many there are
  std::array<Entry, n> entries{};
};

using Xsave = std::array<std::uint32_t, 1024>;

inline constexpr unsigned long k_get_supported_cpuid = _IOWR(KVMIO, 0x05, Counted);
inline constexpr unsigned long k_set_cpuid = _IOW(KVMIO, 0x90, Counted);
inline constexpr unsigned long k_get_msrs = _IOWR(KVMIO, 0x88, Counted);
inline constexpr unsigned long k_set_msrs = _IOW(KVMIO, 0x89, Counted);
inline constexpr unsigned long k_get_xsave = _IOR(KVMIO, 0xa4, Xsave);
inline constexpr unsigned long k_set_xsave = _IOW(KVMIO, 0xa5, Xsave);

}  // namespace example
