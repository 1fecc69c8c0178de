// The memory that runs find free.
#pragma once

#include <cstdint>

namespace ferry::bench {

/// Touches so many bytes of free memory, half of it at most, and frees them again: what runs next
/// gets these pages. On a virtual machine whose host takes back what is free (free page reporting,
/// every two seconds), the next run pays for getting it again, and that is far more than a disk
/// takes to fill it: 2.6 s for a GiB, and 0.04 s when it was there.
void warm_free_memory(std::uint64_t bytes);

}  // namespace ferry::bench
