// This process's memory, for the peer to write to.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "ferry/channel.h"
#include "rdma/chunk_pool.h"
#include "rdma/line.h"

namespace ferry {

/// Registers memory for the peer to write to, and tells it where that is: all of it at once, or in
/// chunks as the peer asks for them, where more than `most_pinned` bytes may not be pinned. The
/// line's queue pair takes writes from admit() to withdraw() and at no other time; and when all
/// channels of a session have withdrawn the memory is deregistered.
class RdmaTarget final : public PlacedTarget, private ChunkPool::Member {
 public:
  /// `line` outlives its use. `most_pinned` 0: all.
  RdmaTarget(RdmaLine& line, const std::string& peer, std::uint64_t most_pinned);

  /// Thread-safe, all three.
  Result<void> pin(const GuestMemory& memory, std::stop_token stop) override;
  Result<void> admit(const GuestMemory& memory) override;
  void withdraw() noexcept override;
  /// Is of no concern to other channels any more. The line may go then; what is pinned goes with
  /// this.
  void leave() noexcept;

  // For the line, which is held.

  Result<void> hear(const RdmaLine::Held& held, RdmaWord word, std::span<const std::byte> payload);
  void look_again(const RdmaLine::Held& held);

 private:
  using Held = RdmaLine::Held;

  bool may_pin_all_of(const GuestMemory& memory) const noexcept {
    return most_pinned_ == 0 || memory.total_bytes() <= most_pinned_;
  }
  Result<void> check(const GuestMemory& memory) const;
  Result<std::vector<PinningDomain::Pin>> pin_all(const GuestMemory& memory);
  Result<void> admit_all(const GuestMemory& memory);
  Result<void> admit_in_chunks(const GuestMemory& memory);
  void wake() noexcept override;

  RdmaLine& line_;
  const std::string act_;  // "let rdma://node7:4446 write to guest memory"
  const std::uint64_t most_pinned_;

  // Guarded by the line.
  std::vector<PinningDomain::Pin> kept_;  // of what nobody is let into through this line
  std::vector<PinningDomain::Pin> pins_;
  std::shared_ptr<ChunkPool> pool_;
  bool withdrawn_ = false;

  std::atomic<bool> answered_ =
      false;  // pairs with the pool's mutex: its answers are fetched there
};

}  // namespace ferry
