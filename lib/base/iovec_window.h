// A place in a list of pieces of memory, for calls that take only part of it.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <limits>
#include <span>

namespace ferry {

inline std::size_t total_bytes(std::span<const iovec> pieces) noexcept {
  std::size_t sum = 0;
  for (const iovec& piece : pieces) sum += piece.iov_len;
  return sum;
}

/// Bytes as one piece. What is const stays it: a piece that comes from it is for writing out only,
/// which an iovec cannot say.
inline iovec piece_of(std::span<const std::byte> bytes) noexcept {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

/// Walks over pieces of memory by bytes, one system call after the other, skipping empty pieces. It
/// borrows the list and copies at most a few pieces of it, so that it costs a call nothing, and a
/// list of any length little to continue.
class IovecWindow {
 public:
  static constexpr std::size_t k_all = std::numeric_limits<std::size_t>::max();

  explicit IovecWindow(std::span<const iovec> pieces) noexcept : pieces_(pieces) { advance(0); }

  bool done() const noexcept { return pieces_.empty(); }

  /// What comes next, as one system call takes it: it begins with a piece that is not empty, and
  /// has at most IOV_MAX pieces and `limit` bytes. It may be less than what is left. Valid until
  /// the next call. Empty only when done() or when `limit` is 0.
  std::span<const iovec> window(std::size_t limit = k_all) noexcept;

  /// Goes on by `bytes`, which must not be more than what is left.
  void advance(std::size_t bytes) noexcept;

 private:
  std::span<const iovec> pieces_;
  std::size_t offset_ = 0;  // into the first piece
  std::array<iovec, 16> cut_;
};

}  // namespace ferry
