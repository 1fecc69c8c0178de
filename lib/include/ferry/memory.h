// Guest memory as Ferry sees it: regions, runs of pages, and bitmaps over them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ferry/result.h"

namespace [[gnu::visibility("default")]] ferry {

using RegionId = std::uint32_t;

/// The granularity of everything: bitmaps count units, checksums cover units, runs begin on units.
inline constexpr std::uint64_t k_unit_bytes = 4096;

/// How many units `bytes` touches; the last one may be partial.
constexpr std::uint64_t units_in(std::uint64_t bytes) noexcept {
  return bytes / k_unit_bytes + (bytes % k_unit_bytes != 0);
}

/// What is behind a region's addresses.
enum class Backing : std::uint8_t { anonymous, shmem, hugetlb, file };

/// One stretch of guest memory. Ferry borrows it: the VMM keeps the mapping and the descriptor open
/// for as long as the migration runs.
struct MemoryRegion {
  RegionId id = 0;                         ///< its place in GuestMemory, and its number on the wire
  std::string name{};                      ///< 1 to 255 bytes, no NUL; unique
  std::uint64_t guest_address = 0;         ///< where the guest sees it; 0 for an image
  std::uint64_t page_size = k_unit_bytes;  ///< a power of two, at least 4096
  std::uint64_t length = 0;                ///< in bytes; the last unit may be partial
  std::byte* host = nullptr;               ///< its mapping, or null where only `fd` reaches it
  Backing backing = Backing::anonymous;
  int fd = -1;                  ///< -1 where the memory has no descriptor
  std::uint64_t fd_offset = 0;  ///< where the region begins in `fd`
  std::string path{};           ///< what `fd` is open on, for errors; empty: they say `name`
};

/// Contiguous pages of one region: the unit of work above the wire. Offset and length are in bytes.
struct PageRun {
  RegionId region = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  friend bool operator==(const PageRun&, const PageRun&) = default;
};

/// What a source says of its memory before it sends any of it.
struct LayoutRegion {
  std::string name{};
  std::uint64_t guest_address = 0;
  std::uint64_t page_size = k_unit_bytes;
  std::uint64_t length = 0;
  friend bool operator==(const LayoutRegion&, const LayoutRegion&) = default;
};
struct Layout {
  std::vector<LayoutRegion> regions;  ///< a region's id is its index
  friend bool operator==(const Layout&, const Layout&) = default;
};

/// The regions of one guest. Immutable once made, and safe to read from any thread.
class GuestMemory {
 public:
  /// Regions must be numbered 0, 1, 2, ...; each needs a mapping or a descriptor, unless it is
  /// empty. Errc::usage. (What the wire demands of names and sizes is judged when they are
  /// announced.)
  static Result<GuestMemory> create(std::vector<MemoryRegion> regions);

  GuestMemory() = default;
  std::span<const MemoryRegion> regions() const noexcept { return regions_; }
  std::uint64_t total_bytes() const noexcept { return total_bytes_; }
  Layout layout() const;

  /// The region that a run lies in, wholly. Runs from the wire are checked here and nowhere else:
  /// an unknown region, an offset that is no multiple of a unit, a length that is no multiple of a
  /// unit although it ends inside the region, or an end outside it, are Errc::protocol. An empty
  /// run passes.
  Result<const MemoryRegion*> check(const PageRun& run) const;

  /// The only way from a wire number to a pointer. Errc::guest where the region is not mapped.
  Result<std::span<std::byte>> at(const PageRun& run) const;

 private:
  std::vector<MemoryRegion> regions_;
  std::uint64_t total_bytes_ = 0;
};

/// One bit for every unit of a guest's memory. mark(), test() and test_and_mark() are thread-safe
/// with each other (relaxed atomics: the bit itself is the only thing that they publish);
/// everything else wants the bitmap for itself. All of them go through whole words.
class PageBitmap {
 public:
  PageBitmap() = default;
  explicit PageBitmap(const Layout& layout);

  /// Runs must have passed GuestMemory::check.
  void mark(const PageRun& run) noexcept;
  void clear(const PageRun& run) noexcept;
  void clear_all() noexcept;
  void mark_all() noexcept;

  /// Is the unit at `offset` marked?
  bool test(RegionId region, std::uint64_t offset) const noexcept;
  /// Is any unit of the run marked? Marks all of it.
  bool test_and_mark(const PageRun& run) noexcept;
  /// Is every unit marked?
  bool all() const noexcept;
  bool none() const noexcept;
  /// How many units are marked.
  std::uint64_t count() const noexcept;

  /// Or-s `other`, which has the same layout, into this one.
  void merge(const PageBitmap& other) noexcept;

  /// The first run of marked units at or after `from` (a byte offset), cut to the region's length
  /// and to `max_length` bytes (a multiple of a unit).
  std::optional<PageRun> next_run(RegionId region, std::uint64_t from,
                                  std::uint64_t max_length = UINT64_MAX &
                                                             ~(k_unit_bytes - 1)) const noexcept;

  std::size_t region_count() const noexcept { return regions_.size(); }

 private:
  struct Bits {
    std::uint64_t length = 0;  // bytes of memory
    std::vector<std::uint64_t> words;
  };
  std::vector<Bits> regions_;
};

/// The name of a bitmap whose marks mean "written since it was sent".
using DirtyBitmap = PageBitmap;

/// An ability of trackers that can begin with one part of memory after another, each just before it
/// is sent for the first time. What the guest writes there earlier is in what is sent: it costs the
/// guest nothing, and the page does not go twice.
class GradualTracking {
 public:
  /// In the place of start(): nothing is watched yet.
  virtual Result<void> begin() = 0;
  /// From here on every write to this part is noticed, and perhaps to what lies around it. Each
  /// part once, before the first harvest. What was not named by then counts as written in that
  /// harvest, and is watched from there on like the rest.
  virtual Result<void> watch(const PageRun& run) = 0;

 protected:
  ~GradualTracking() = default;
};

/// Finds out which pages a running guest writes to.
class DirtyTracker {
 public:
  virtual ~DirtyTracker() = default;
  /// From here on every write is noticed.
  virtual Result<void> start() = 0;
  /// Adds what was written since the last harvest (or start) to `into`, and watches those pages
  /// again before it returns: a page read after harvest() that changes later is in the next one.
  virtual Result<void> harvest(DirtyBitmap& into) = 0;
  /// The last call of a migration, however it ended, and made even where start() failed: behind
  /// STARTED or SourceGuest::resume(), for it may take a while and nobody is to wait for it. So
  /// what is watched (slots, mappings) stays as it is until send() returns, also where the guest
  /// runs on here by then.
  virtual void stop() noexcept = 0;
  /// Null where it watches all memory or none.
  virtual GradualTracking* gradual() noexcept { return nullptr; }
};

}  // namespace ferry
