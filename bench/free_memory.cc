#include "bench/free_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>

namespace ferry::bench {

void warm_free_memory(std::uint64_t bytes) {
  const auto pages = static_cast<std::uint64_t>(::sysconf(_SC_AVPHYS_PAGES));
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t length = std::min(bytes, pages / 2 * page_bytes);
  if (length == 0) return;
  void* const memory =
      ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;
  // As huge pages: the page cache's large folios are made of whole free blocks, and small pages
  // come out of broken ones.
  (void)::madvise(memory, length, MADV_HUGEPAGE);
  (void)::madvise(memory, length, MADV_POPULATE_WRITE);
  ::munmap(memory, length);
}

}  // namespace ferry::bench
