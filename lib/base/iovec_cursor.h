// Walking through a list of buffers that calls take only in part.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace ferry {

inline std::size_t total_bytes(std::span<const iovec> pieces) noexcept {
  std::size_t sum = 0;
  for (const iovec& piece : pieces) sum += piece.iov_len;
  return sum;
}

/// The part of a list of buffers that is still to be read or written. Owns the list, not the bytes.
class IovecCursor {
 public:
  explicit IovecCursor(std::span<const iovec> pieces) : pieces_(pieces.begin(), pieces.end()) {
    skip_empty();
  }

  bool done() const noexcept { return next_ == pieces_.size(); }

  /// What remains, at most `most` pieces of it. Never begins with an empty piece.
  std::span<const iovec> rest(std::size_t most) const noexcept {
    return std::span(pieces_).subspan(next_, std::min(most, pieces_.size() - next_));
  }

  /// Forgets the first `bytes`, which must be there.
  void advance(std::size_t bytes) noexcept {
    while (bytes > 0) {
      iovec& piece = pieces_[next_];
      const std::size_t step = std::min(bytes, piece.iov_len);
      piece.iov_base = static_cast<std::byte*>(piece.iov_base) + step;
      piece.iov_len -= step;
      bytes -= step;
      skip_empty();
    }
  }

 private:
  void skip_empty() noexcept {
    while (next_ < pieces_.size() && pieces_[next_].iov_len == 0) ++next_;
  }

  std::vector<iovec> pieces_;
  std::size_t next_ = 0;
};

}  // namespace ferry
