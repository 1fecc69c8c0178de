// A snapshot on its way into a place: which pages it has, their checksums, and the seal.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "ferry/device_state.h"
#include "ferry/memory.h"
#include "ferry/place.h"
#include "ferry/result.h"
#include "wire/image_format.h"

namespace ferry {

/// Made for one layout. Lanes put pages at their place and note them here, where each unit is one
/// lane's at a time; then seal() writes what makes it a snapshot. Nine bytes of memory for each
/// unit that is there, and next to none for what is not.
class SnapshotWriter {
 public:
  static Result<std::unique_ptr<SnapshotWriter>> create(Places& places, const Uri& at,
                                                        Layout layout);

  /// For one thread at a time. Region i is the layout's; those behind them are `outside`: see
  /// Place::lane().
  Result<std::unique_ptr<PlacedIo>> lane(std::span<const MemoryRegion> outside);

  /// Makes the run, whole units of it, share storage with the file open as `fd`: see NewPlace.
  bool clone(const PageRun& run, int fd, std::uint64_t from) {
    return place_->clone({plan_.regions[run.region].data_offset + run.offset, run.length}, fd,
                         from);
  }

  /// The unit at `offset` was put, and has this checksum.
  void note_present(RegionId region, std::uint64_t offset, std::uint64_t checksum) noexcept;
  /// The run is zeros. Its storage is given back where it had any.
  Result<void> note_zeros(const PageRun& run);

  /// Device state, at most once and before seal(). `sections` are named, numbered and long as they
  /// are to be; `bytes` gives what is in them, in the same order. A stop request is
  /// Errc::cancelled, at the next piece.
  Result<void> put_sections(std::vector<wire::ImageSection> sections, StateOrigin& bytes,
                            const std::stop_token& stop);

  /// When every lane is flushed: writes all that is no page, and makes it durable. Nobody sees it
  /// before show().
  Result<void> seal();
  Result<void> show() { return place_->show(); }

  /// What was written so far, to be read again.
  Place& place() noexcept { return *place_; }

 private:
  template <class Item>
  struct FreeZeros {
    void operator()(Item* items) const noexcept { std::free(items); }
  };
  /// Zeros that take no memory until they are written to.
  template <class Item>
  using Zeros = std::unique_ptr<Item[], FreeZeros<Item>>;
  struct Region {
    Zeros<std::uint64_t> checksums;  ///< of whole blocks
    Zeros<std::uint8_t> present;     ///< a byte a unit: lanes write them side by side
  };

  SnapshotWriter(std::unique_ptr<NewPlace> place, Layout layout, wire::ImagePlan plan);
  Result<void> make_room();
  Result<void> put_section(wire::ImageSection& section, StateOrigin& bytes,
                           const std::stop_token& stop);
  PageBitmap present() const;
  Result<std::vector<std::byte>> write_table();
  Result<void> write_block(RegionId region, std::uint64_t block, std::vector<std::byte>& index);

  std::unique_ptr<NewPlace> place_;
  const Layout layout_;
  const wire::ImagePlan plan_;
  std::vector<Region> regions_;
  std::uint64_t directory_bytes_ = 0;
  std::uint64_t file_bytes_ = plan_.end();
};

}  // namespace ferry
