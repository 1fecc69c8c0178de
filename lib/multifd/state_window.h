// Device state on its way over lanes.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "ferry/device_state.h"
#include "ferry/memory.h"

namespace ferry {

/// How many pieces may be under way: a receiver may ask for one again until it has said that it
/// keeps it, and whoever wrote it has it no more. Thread-safe.
class StateWindow {
 public:
  /// 32 MiB: more than a line holds at 25 Gbit/s and a round trip of 10 ms.
  static constexpr std::size_t k_most_pieces = 32 * 1024 * 1024 / k_state_piece_bytes;

  /// Blocks while so many are under way. False after close().
  bool enter();
  void leave() noexcept;
  /// Wakes whoever waits in enter(), for good.
  void close() noexcept;
  /// How many have left.
  std::uint64_t left() const;

 private:
  mutable std::mutex mutex_;  // guards the rest
  std::condition_variable changed_;
  std::size_t inside_ = 0;
  std::uint64_t left_ = 0;
  bool closed_ = false;
};

/// A copy of one piece, from the queue to its acknowledgement.
class PackedPiece {
 public:
  /// `window` was entered for it, and outlives it. `section` is its number.
  PackedPiece(StateWindow& window, std::uint32_t section, std::uint64_t offset,
              std::span<const std::byte> bytes)
      : window_(window), at_{section, offset, bytes.size()}, bytes_(bytes.begin(), bytes.end()) {}
  PackedPiece(const PackedPiece&) = delete;
  PackedPiece& operator=(const PackedPiece&) = delete;
  ~PackedPiece() { window_.leave(); }

  /// As packets and NAKs name it: the section's number where pages have their region.
  const PageRun& at() const noexcept { return at_; }
  std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  StateWindow& window_;
  const PageRun at_;
  const std::vector<std::byte> bytes_;
};

}  // namespace ferry
