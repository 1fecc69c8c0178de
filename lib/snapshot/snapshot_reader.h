// A snapshot that is there: what it says of itself, and proof of what is read from it.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "ferry/memory.h"
#include "ferry/place.h"
#include "ferry/result.h"
#include "ferry/snapshot.h"
#include "wire/image_format.h"

namespace ferry {

/// One block of the table of checksums: of the region's units from `number` times
/// wire::k_checksums_a_block on.
struct ChecksumBlock {
  RegionId region = 0;
  std::uint64_t number = 0;
  friend auto operator<=>(const ChecksumBlock&, const ChecksumBlock&) = default;
};

/// Immutable once opened, and safe to read from any thread. Holds the bitmap and the index: 40 KiB
/// for each GiB; checksums are read, and verified, as pages are.
class SnapshotReader {
 public:
  /// Verifies the header, the bitmap, the index and the directory of sections. `shown_as` is what
  /// errors call it. What is not as it must be is Errc::integrity, whatever it is: a file has
  /// nobody who could have meant it so.
  static Result<std::unique_ptr<SnapshotReader>> open(std::unique_ptr<Place> place,
                                                      std::string shown_as);
  /// The same of a place that is another's, and outlives this.
  static Result<std::unique_ptr<SnapshotReader>> borrow(Place& place, std::string shown_as);

  const wire::ImageHeader& header() const noexcept { return header_; }
  const wire::ImagePlan& plan() const noexcept { return plan_; }
  const PageBitmap& present() const noexcept { return present_; }
  const std::vector<wire::ImageSection>& sections() const noexcept { return sections_; }
  const SnapshotInfo& info() const noexcept { return info_; }
  Place& place() const noexcept { return *place_; }

  /// For one thread at a time. Region i is the header's; those behind them are `outside`: see
  /// Place::lane().
  Result<std::unique_ptr<PlacedIo>> lane(std::span<const MemoryRegion> outside) const;

  /// Which units of a run, by their offsets in the region, are not what was written. Pure.
  static std::vector<std::uint64_t> damaged_in(const PageRun& run, std::span<const std::byte> units,
                                               std::span<const std::uint64_t> checksums);
  /// A block of the table, verified. Reads the file; Errc::integrity where it is damaged itself.
  Result<std::vector<std::uint64_t>> checksums(const ChecksumBlock& block) const;

  Result<void> fetch(const PageRun& run, std::span<std::byte> into) const;
  Result<std::vector<std::byte>> section(std::size_t index) const;
  /// Reads a section and forgets it. A stop request is Errc::cancelled.
  Result<void> verify_section(const wire::ImageSection& section, const std::stop_token& stop) const;

  /// "region 'ram', offset 0x1000" of the snapshot, for errors.
  std::string name_of(RegionId region, std::uint64_t offset) const;
  std::string name_of(const ChecksumBlock& block) const;
  std::unexpected<Error> damaged(std::string what) const;

 private:
  explicit SnapshotReader(std::string shown_as) : shown_as_(std::move(shown_as)) {}
  Result<void> read_all();
  Result<std::vector<std::byte>> read(Stretch stretch) const;
  Result<void> read_header();
  Result<void> read_directory();
  Result<void> fetch_present(const PageRun& run, std::span<std::byte> into) const;
  template <class Take>
  Result<void> read_section(const wire::ImageSection& section, const std::stop_token& stop,
                            Take take) const;
  Error of_file(Error error) const;

  const std::string shown_as_;
  std::unique_ptr<Place> owned_;
  Place* place_ = nullptr;
  wire::ImageHeader header_;
  wire::ImagePlan plan_;
  PageBitmap present_;
  std::vector<std::uint64_t> index_;
  std::vector<wire::ImageSection> sections_;
  SnapshotInfo info_;
};

}  // namespace ferry
