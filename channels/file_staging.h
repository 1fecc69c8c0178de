// Memory of a file's lane, lent in pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>

#include "ferry/channel.h"
#include "ferry/result.h"

namespace ferry {

/// A ring of bytes. Runs take what they need of it, one piece behind the other, so that many short
/// ones have room where a few long ones have; and pieces become free in the order in which they
/// were taken, as the moves that use them are settled. Moves are numbered 1, 2, 3, ...
class FileStaging {
 public:
  /// Of one piece, at most.
  static constexpr std::size_t k_piece_bytes = 1024 * 1024;
  /// Of all pieces that are in use.
  static constexpr std::size_t k_staged_bytes = 3 * k_piece_bytes;
  /// A piece at the end of the ring that is too short for a run is left out: whatever is used, a
  /// whole piece more has room for that.
  static constexpr std::size_t k_bytes = k_staged_bytes + k_piece_bytes;

  /// Errc::system.
  static Result<FileStaging> create();

  /// All of it, aligned to a unit.
  std::span<std::byte> all() const noexcept { return {memory_.get(), k_bytes}; }

  /// The next piece; nothing where there is no room for it before more than `settled` moves are
  /// settled. Whoever takes one is done with the piece before it: where no move uses that any more,
  /// it is free again.
  std::optional<std::span<std::byte>> take(std::size_t bytes, std::uint64_t settled);
  /// For the end, where it is not known whether the kernel still writes to it: it stays taken.
  void leave_behind() noexcept { (void)memory_.release(); }
  /// This move uses these bytes; where they are not of the ring, that is no matter.
  void use(std::span<const std::byte> bytes, std::uint64_t move) noexcept;

 private:
  struct FreeBytes {
    void operator()(std::byte* bytes) const noexcept;
  };
  struct Piece {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::uint64_t last_move = 0;  // that uses it; 0: none has yet
  };

  explicit FileStaging(std::byte* memory) : memory_(memory) {}
  std::optional<std::size_t> room_for(std::size_t bytes) const noexcept;

  std::unique_ptr<std::byte, FreeBytes> memory_;
  std::deque<Piece> pieces_;  // the oldest first
};

}  // namespace ferry
