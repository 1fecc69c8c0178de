#include "channels/file_staging.h"

#include <sys/mman.h>

#include <cstdlib>

namespace ferry {

void FileStaging::FreeBytes::operator()(std::byte* bytes) const noexcept { std::free(bytes); }

Result<FileStaging> FileStaging::create() {
  // As whole huge pages of x86-64. A direct request's memory is told to the disk by its physical
  // pages, and a list of 64 takes some disks longer than their bytes do.
  constexpr std::size_t k_huge_page_bytes = 2 * 1024 * 1024;
  static_assert(k_bytes % k_huge_page_bytes == 0);
  auto* const memory = static_cast<std::byte*>(std::aligned_alloc(k_huge_page_bytes, k_bytes));
  if (memory == nullptr) return fail(Errc::system, "make room for a lane: out of memory");
  (void)::madvise(memory, k_bytes, MADV_HUGEPAGE);  // a wish: small pages serve as well
  return FileStaging(memory);
}

std::optional<std::span<std::byte>> FileStaging::take(std::size_t bytes, std::uint64_t settled) {
  if (!pieces_.empty() && pieces_.back().last_move <= settled) pieces_.pop_back();
  while (!pieces_.empty() && pieces_.front().last_move <= settled) pieces_.pop_front();
  const auto begin = room_for(bytes);
  if (!begin) return std::nullopt;
  pieces_.push_back({.begin = *begin, .end = *begin + bytes});
  return all().subspan(*begin, bytes);
}

/// Behind the newest piece, or at the ring's beginning; never over the oldest.
std::optional<std::size_t> FileStaging::room_for(std::size_t bytes) const noexcept {
  if (pieces_.empty()) return 0;
  const std::size_t oldest = pieces_.front().begin;
  const std::size_t newest = pieces_.back().end;
  if (newest <= oldest) {
    return oldest - newest >= bytes ? std::optional(newest) : std::nullopt;
  }
  if (k_bytes - newest >= bytes) return newest;
  return oldest >= bytes ? std::optional<std::size_t>(0) : std::nullopt;
}

void FileStaging::use(std::span<const std::byte> bytes, std::uint64_t move) noexcept {
  const auto ring = all();
  if (bytes.data() < ring.data() || bytes.data() >= ring.data() + ring.size()) return;
  const auto at = static_cast<std::size_t>(bytes.data() - ring.data());
  for (Piece& piece : pieces_) {
    if (at >= piece.begin && at < piece.end) piece.last_move = move;
  }
}

}  // namespace ferry
