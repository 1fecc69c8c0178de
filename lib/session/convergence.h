// When another round of precopy is worth its time.
#pragma once

#include <cstdint>

namespace ferry {

/// Goes on while each round leaves clearly less dirty than the one before, and stops when the rest
/// is small, or when sending no longer gains on the guest.
class Convergence {
 public:
  /// After each round: how many bytes are dirty now. True: send them while the guest runs on.
  bool another_round(std::uint64_t dirty_bytes) noexcept {
    const bool gaining = dirty_bytes < last_dirty_ - last_dirty_ / 10;
    last_dirty_ = dirty_bytes;
    return dirty_bytes > k_small_rest_bytes && gaining && ++rounds_ < k_max_rounds;
  }

 private:
  // A tenth of a second on a link of one gigabit.
  static constexpr std::uint64_t k_small_rest_bytes = 12 * 1024 * 1024;
  static constexpr unsigned k_max_rounds = 30;

  std::uint64_t last_dirty_ = UINT64_MAX;
  unsigned rounds_ = 0;
};

}  // namespace ferry
