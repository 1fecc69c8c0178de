#include "base/iovec_window.h"

#include <limits.h>

#include <algorithm>
#include <cassert>

namespace ferry {

std::span<const iovec> IovecWindow::window(std::size_t limit) noexcept {
  if (offset_ == 0 && limit == k_all) {
    return pieces_.first(std::min<std::size_t>(pieces_.size(), IOV_MAX));
  }
  std::size_t used = 0;
  std::size_t skip = offset_;
  for (const iovec& piece : pieces_.first(std::min(pieces_.size(), cut_.size()))) {
    if (limit == 0) break;
    const std::size_t length = std::min(piece.iov_len - skip, limit);
    cut_[used++] = {static_cast<std::byte*>(piece.iov_base) + skip, length};
    limit -= length;
    skip = 0;
  }
  return std::span<const iovec>(cut_).first(used);
}

void IovecWindow::advance(std::size_t bytes) noexcept {
  offset_ += bytes;
  while (!pieces_.empty() && offset_ >= pieces_.front().iov_len) {
    offset_ -= pieces_.front().iov_len;
    pieces_ = pieces_.subspan(1);
  }
  assert(!pieces_.empty() || offset_ == 0);
}

}  // namespace ferry
