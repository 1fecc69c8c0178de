// A guest that really runs: another process writes to its memory while that is sent.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>

#include "ferry/guest.h"

namespace ferry::test {

/// Memory that a child process writes to, as fast as it can, unless it is held: page by page, in an
/// order of chance, among the first `hot` ones. After each write it marks the page in a bitmap that
/// both processes share, which is what harvest() gives: a fake of a tracker that loses nothing. As
/// long as it runs without a rest, harvest() waits for a write: however the two processes are
/// scheduled, something is dirty.
class MutatedSource final : public SourceGuest, private DirtyTracker {
 public:
  MutatedSource(std::uint64_t pages, std::uint64_t hot);
  MutatedSource(const MutatedSource&) = delete;
  MutatedSource& operator=(const MutatedSource&) = delete;
  /// Ends the child.
  ~MutatedSource() override;

  std::span<const std::byte> bytes() const noexcept;
  /// Writes of the child so far.
  std::uint64_t writes() const noexcept;
  /// Blocks until the child has written once more.
  void wait_for_a_write() const;
  /// The child waits so long behind each write, from now on.
  void set_rest(std::chrono::nanoseconds rest) noexcept;
  bool runs() const noexcept { return pauses_ == resumes_; }
  unsigned pauses() const noexcept { return pauses_; }

  std::function<Result<void>(StateWriter&)> on_save;  ///< empty: saves nothing
  /// Writes to a page as a device does, with the guest paused: where the tracker sees it.
  void write_as_device(std::uint64_t page, std::byte value);

  const GuestMemory& memory() override { return memory_; }
  DirtyTracker& dirty_tracker() override { return *this; }
  Result<void> pause() override;
  Result<void> resume() override;
  Result<void> save_state(StateWriter& out) override;

 private:
  struct Shared;
  Result<void> start() override { return {}; }
  Result<void> harvest(DirtyBitmap& into) override;
  void stop() noexcept override {}
  [[noreturn]] void mutate(std::uint64_t hot) noexcept;

  const std::uint64_t pages_;
  Shared* shared_;
  std::byte* ram_;
  GuestMemory memory_;
  pid_t child_ = -1;
  unsigned pauses_ = 0;
  unsigned resumes_ = 0;
};

}  // namespace ferry::test
