// Pages into the peer's memory.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ferry/channel.h"
#include "rdma/line.h"
#include "rdma/staging.h"

namespace ferry {

/// RDMA WRITE to where the peer has granted it, in requests of at most 1 MiB. The last request of a
/// put is signalled, and the end of one speaks for all before it.
///
/// Where all memory may be pinned, attach() registers it, for all channels of its domain once.
/// Where there is a bound, nothing of it is: what is put from there is copied to registered buffers
/// first, which costs less than to register and deregister it piece by piece. And the peer then
/// grants its memory in chunks, when asked; flush() gives them back.
class RdmaPlaced final : public PlacedIo {
 public:
  static constexpr unsigned k_depth = 16;
  static constexpr std::uint64_t k_most_a_request = 1 << 20;

  /// `line` outlives its use. `most_pinned` 0: all.
  RdmaPlaced(RdmaLine& line, const std::string& peer, std::uint64_t most_pinned);

  Result<void> attach(const GuestMemory& memory) override;
  Result<std::span<std::byte>> staging(std::size_t bytes) override;
  Result<void> put(const PageRun& run, std::span<const std::byte> from) override;
  /// Errc::unsupported: a guest's memory is written to, and never read from afar.
  Result<void> get(const PageRun& run, std::span<std::byte> into) override;
  Result<void> settle() override;
  unsigned under_way() const noexcept override { return static_cast<unsigned>(puts_.size()); }
  unsigned depth() const noexcept override { return k_depth; }
  Result<void> flush() override;

  // For the line, which is held.

  Result<void> hear(const RdmaLine::Held& held, RdmaWord word, std::span<const std::byte> payload);
  void look_again(const RdmaLine::Held& held);

 private:
  using Held = RdmaLine::Held;
  using Place = std::pair<RegionId, std::uint64_t>;  // region, offset
  /// What may be written to; chunks also while they are only asked for.
  struct Granted {
    RdmaGrant grant{};
    bool here = false;             // false: asked for
    bool going = false;            // the peer wants it back
    std::uint64_t used_until = 0;  // the last request that writes there
  };
  /// Memory of ours that requests may read.
  struct Attached {
    std::span<const std::byte> memory;
    PinningDomain::Pin pin;
  };

  Result<void> check();
  Result<void> keep(Result<void> done);
  template <class Ready>
  Result<void> wait(Held& held, Ready ready);
  Result<void> settle_oldest(Held& held);
  Result<void> put_all(Held& held, const PageRun& run, std::span<const std::byte> from);
  Result<std::uint64_t> put_piece(Held& held, const PageRun& piece, const Segment& from);
  std::optional<std::uint32_t> key_of(std::span<const std::byte> bytes) const noexcept;
  Result<Segment> copy_of(Held& held, std::span<const std::byte> from);
  std::uint64_t inside_of_chunk(const PageRun& rest) const noexcept;
  Place place_of(const PageRun& run) const noexcept;
  Result<Granted*> wait_for_grant(Held& held, const PageRun& piece);
  void ask_for(const Held& held, const Place& place);
  Result<void> hear_grant(const RdmaGrant& grant);
  void give_back(const Held& held, std::map<Place, Granted>::iterator chunk);

  RdmaLine& line_;
  const std::string act_;  // "write to the memory of rdma://node7:4446"
  const std::uint64_t most_pinned_;

  std::vector<Attached> attached_;
  StagingRing staging_;
  StagingRing copies_;
  std::deque<std::uint64_t> puts_;  // the last request of each that is not settled
  std::optional<Error> failure_;

  // Guarded by the line.
  std::optional<RdmaAdmission> admission_;
  std::map<Place, Granted> granted_;
  bool some_are_going_ = false;
};

}  // namespace ferry
