#include "rdma/buffers.h"

#include <algorithm>
#include <cstdlib>

#include "ferry/memory.h"

namespace ferry {

void RdmaBuffers::FreeBytes::operator()(std::byte* bytes) const noexcept { std::free(bytes); }

Result<RdmaBuffers> RdmaBuffers::create() {
  RdmaBuffers buffers;
  constexpr std::size_t k_rounded = units_in(k_bytes) * k_unit_bytes;
  buffers.memory_.reset(static_cast<std::byte*>(std::aligned_alloc(k_unit_bytes, k_rounded)));
  if (!buffers.memory_) return fail(Errc::system, "make room for messages: out of memory");
  std::fill_n(buffers.memory_.get(), k_bytes, std::byte{0});  // what is sent is never old memory
  return buffers;
}

}  // namespace ferry
