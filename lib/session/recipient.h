// Who receives, as the source sees it.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "ferry/device_state.h"
#include "ferry/guest.h"
#include "ferry/memory.h"
#include "ferry/result.h"
#include "multifd/send_lane.h"
#include "wire/control.h"

namespace ferry {

/// What the way to a recipient has carried, and what it costs to ask something there.
struct LineFigures {
  std::uint64_t wire_bytes = 0;           ///< of pages, so far
  std::chrono::nanoseconds round_trip{};  ///< 0: unknown, or nothing
};

/// The other end of a migration: a peer behind channels, or a file that has nobody to say READY.
/// The source's state machine drives it from one thread, in this order: layout; rounds; with the
/// guest paused a round, device state, and a round again; prepare; commit. A failure is final.
class Recipient {
 public:
  virtual ~Recipient() = default;

  /// Agrees on the memory, and opens the lanes.
  virtual Result<void> layout(const Layout& layout) = 0;

  /// Within a round no page comes twice. submit() blocks while the lanes have enough to do.
  virtual Result<void> begin_round(std::uint32_t round, Motion motion) = 0;
  virtual Result<void> submit(const PageRun& run, Content content) = 0;
  /// Blocks until everything of the round has arrived and is verified. Adds to `again` what changed
  /// on the way and belongs to the next round.
  virtual Result<void> end_round(std::uint32_t round, DirtyBitmap& again) = 0;

  /// Where device state goes, between two rounds and at most once. What it was given may still be
  /// under way when it returns; prepare() waits for it. It stays the recipient's.
  virtual StateSink& state() = 0;

  virtual LineFigures line() const = 0;

  /// Blocks until all of it is there for good: memory, and state loaded where there is a guest.
  /// `digests`: one a region, or none. After success nothing but commit() can end the migration: a
  /// stop request is no longer heard.
  virtual Result<void> prepare(std::vector<wire::Digest> digests) = 0;

  /// Has it failed since? Asked where a round does much without a submit(), and right before
  /// commit(): of what is known by then the guest stays where it is.
  virtual Result<void> check() const { return {}; }

  /// Hands the guest over. After a failure nobody knows who has it.
  virtual Result<void> commit(const OwnerToken& token) = 0;
};

}  // namespace ferry
