// Guests that are nothing but memory, for both ends of a migration in one process.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ferry/guest.h"

namespace ferry::test {

/// Regions "ram0", "ram1", ... of these lengths in bytes.
Layout layout_of(const std::vector<std::uint64_t>& lengths);

/// Anonymous memory for every region of a layout; it reads as zeros at first.
class Mappings {
 public:
  explicit Mappings(const Layout& layout);
  Mappings(const Mappings&) = delete;
  Mappings& operator=(const Mappings&) = delete;
  ~Mappings();

  const GuestMemory& memory() const noexcept { return memory_; }
  std::span<std::byte> region(std::size_t index) noexcept;
  std::span<const std::byte> region(std::size_t index) const noexcept;

 private:
  GuestMemory memory_;
};

/// What a callback of a guest does beside its duty. Empty: nothing.
using Hook = std::function<Result<void>()>;

/// A guest that leaves. Its tracker reports what write() has changed since the last harvest, and
/// nothing else. All of it is used by the thread in send(), so that a test changes memory from the
/// hooks, when no lane reads it.
class MemorySource final : public SourceGuest, private DirtyTracker {
 public:
  /// Every third unit is zeros; the others hold bytes that differ from unit to unit and by `seed`.
  explicit MemorySource(const Layout& layout, unsigned seed = 1);

  /// Fills a unit with `value`, as the guest would.
  void write(RegionId region, std::uint64_t unit, std::byte value);
  /// The same behind the tracker's back.
  void write_unnoticed(RegionId region, std::uint64_t unit, std::byte value);

  const Mappings& mappings() const noexcept { return mappings_; }
  unsigned pauses() const noexcept { return pauses_; }
  unsigned resumes() const noexcept { return resumes_; }
  unsigned harvests() const noexcept { return harvests_; }
  bool tracking() const noexcept { return tracking_; }
  /// Does the guest run here?
  bool runs() const noexcept { return pauses_ == resumes_; }

  Hook on_start_tracking, on_harvest, on_pause, on_resume;
  std::function<void()> on_stop_tracking = [] {};
  std::function<Result<void>(StateWriter&)> on_save;  ///< empty: saves nothing

  const GuestMemory& memory() override { return mappings_.memory(); }
  DirtyTracker& dirty_tracker() override { return *this; }
  Result<void> pause() override;
  Result<void> resume() override;
  Result<void> save_state(StateWriter& out) override;

 private:
  Result<void> start() override;
  Result<void> harvest(DirtyBitmap& into) override;
  void stop() noexcept override;

  Mappings mappings_;
  std::vector<PageRun> written_;
  unsigned pauses_ = 0;
  unsigned resumes_ = 0;
  unsigned harvests_ = 0;
  bool tracking_ = false;
};

/// A guest that arrives.
class MemoryDestination final : public DestinationGuest {
 public:
  /// There once a layout was announced.
  const std::optional<Mappings>& mappings() const noexcept { return mappings_; }
  unsigned prepares() const noexcept { return prepares_; }
  unsigned starts() const noexcept { return starts_; }
  const OwnerToken& token() const noexcept { return token_; }

  Hook on_map_memory, on_prepare, on_start;
  std::function<Result<void>(StateReader&)> on_load;  ///< empty: refuses, as a guest without does

  Result<GuestMemory> map_memory(const Layout& wanted) override;
  Result<void> load_state(StateReader& in) override;
  Result<void> prepare() override;
  Result<void> start(const OwnerToken& token) override;

 private:
  std::optional<Mappings> mappings_;
  unsigned prepares_ = 0;
  unsigned starts_ = 0;
  OwnerToken token_;
};

/// Is every byte of the memory that left in the memory that arrived, and nothing else?
bool identical(const MemorySource& left, const MemoryDestination& arrived);

}  // namespace ferry::test
