#include "snapshot/snapshot_writer.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "base/checksum.h"
#include "base/cursor.h"

namespace ferry {
namespace {

constexpr std::array<std::byte, k_unit_bytes> k_zero_unit{};

std::array<std::byte, 16> fresh_id() {
  std::array<std::byte, 16> id;
  // At most 256 bytes are never cut short, and the pool is full by the time anything runs.
  [[maybe_unused]] const ::ssize_t got = ::getrandom(id.data(), id.size(), 0);
  assert(got == static_cast<::ssize_t>(id.size()));
  return id;
}

}  // namespace

Result<std::unique_ptr<SnapshotWriter>> SnapshotWriter::create(Places& places, const Uri& at,
                                                               Layout layout) {
  wire::ImagePlan plan = wire::plan_image(layout);
  auto place = FERRY_TRY(places.create(at, plan.end()));
  std::unique_ptr<SnapshotWriter> writer(
      new SnapshotWriter(std::move(place), std::move(layout), std::move(plan)));
  FERRY_TRY(writer->make_room());
  return writer;
}

SnapshotWriter::SnapshotWriter(std::unique_ptr<NewPlace> place, Layout layout, wire::ImagePlan plan)
    : place_(std::move(place)), layout_(std::move(layout)), plan_(std::move(plan)) {}

Result<void> SnapshotWriter::make_room() {
  for (const wire::ImagePlan::Region& region : plan_.regions) {
    const std::uint64_t units =
        wire::padded(region.units * 8) / 8;  // whole blocks, and at least that many bytes
    Region& made = regions_.emplace_back();
    made.checksums.reset(static_cast<std::uint64_t*>(std::calloc(units + 1, 8)));
    made.present.reset(static_cast<std::uint8_t*>(std::calloc(units + 1, 1)));
    if (!made.checksums || !made.present) {
      return fail(Errc::system, "make room for the checksums of a snapshot: out of memory");
    }
  }
  return {};
}

Result<std::unique_ptr<PlacedIo>> SnapshotWriter::lane(std::span<const MemoryRegion> outside) {
  std::vector<std::uint64_t> offsets;
  for (const auto& region : plan_.regions) offsets.push_back(region.data_offset);
  return place_->lane(std::move(offsets), outside);
}

void SnapshotWriter::note_present(RegionId region, std::uint64_t offset,
                                  std::uint64_t checksum) noexcept {
  const std::uint64_t unit = offset / k_unit_bytes;
  regions_[region].checksums[unit] = checksum;
  regions_[region].present[unit] = 1;
}

Result<void> SnapshotWriter::note_zeros(const PageRun& run) {
  Region& region = regions_[run.region];
  const std::uint64_t end = run.offset / k_unit_bytes + units_in(run.length);
  std::uint64_t unit = run.offset / k_unit_bytes;
  while (true) {
    std::uint8_t* const first = std::find(&region.present[unit], &region.present[end], 1);
    std::uint8_t* const last = std::find(first, &region.present[end], 0);
    if (first == last) return {};
    const auto from = static_cast<std::uint64_t>(first - region.present.get());
    unit = from + static_cast<std::uint64_t>(last - first);
    std::fill(first, last, std::uint8_t{0});
    std::fill(&region.checksums[from], &region.checksums[unit], std::uint64_t{0});
    FERRY_TRY(place_->clear({plan_.regions[run.region].data_offset + from * k_unit_bytes,
                             (unit - from) * k_unit_bytes}));
  }
}

PageBitmap SnapshotWriter::present() const {
  PageBitmap present(layout_);
  for (RegionId id = 0; id < regions_.size(); ++id) {
    const std::uint8_t* const begin = regions_[id].present.get();
    const std::uint8_t* const end = begin + plan_.regions[id].units;
    for (const std::uint8_t* at = std::find(begin, end, 1); at != end;) {
      const std::uint8_t* const behind = std::find(at, end, 0);
      present.mark({id, static_cast<std::uint64_t>(at - begin) * k_unit_bytes,
                    static_cast<std::uint64_t>(behind - at) * k_unit_bytes});
      at = std::find(behind, end, 1);
    }
  }
  return present;
}

/// Gives the index.
Result<std::vector<std::byte>> SnapshotWriter::write_table() {
  std::vector<std::byte> index;
  index.reserve(plan_.index.length);
  for (RegionId id = 0; id < regions_.size(); ++id) {
    for (std::uint64_t unit = 0; unit < plan_.regions[id].units;
         unit += wire::k_checksums_a_block) {
      FERRY_TRY(write_block(id, unit / wire::k_checksums_a_block, index));
    }
  }
  index.resize(plan_.index.length);
  return index;
}

Result<void> SnapshotWriter::write_block(RegionId id, std::uint64_t block,
                                         std::vector<std::byte>& index) {
  static const std::uint64_t of_zeros = xxh3_64(k_zero_unit);
  ByteWriter out(index);
  const std::uint64_t first = block * wire::k_checksums_a_block;
  const std::uint8_t* const present = &regions_[id].present[first];
  if (std::find(present, present + wire::k_checksums_a_block, 1) ==
      present + wire::k_checksums_a_block) {
    out.u64(of_zeros);  // and the block stays a hole
    return {};
  }
  std::vector<std::byte> bytes;
  bytes.reserve(k_unit_bytes);
  ByteWriter fields(bytes);
  for (std::uint64_t i = 0; i < wire::k_checksums_a_block; ++i) {
    fields.u64(regions_[id].checksums[first + i]);
  }
  out.u64(xxh3_64(bytes));
  return place_->write(plan_.table.offset + (plan_.regions[id].first_block + block) * k_unit_bytes,
                       bytes);
}

Result<void> SnapshotWriter::put_sections(std::vector<wire::ImageSection> sections,
                                          StateOrigin& bytes, const std::stop_token& stop) {
  if (sections.empty()) return {};
  file_bytes_ = wire::place_sections(sections, plan_.end());
  for (wire::ImageSection& section : sections) FERRY_TRY(put_section(section, bytes, stop));
  const std::vector<std::byte> directory = wire::encode(sections);
  directory_bytes_ = directory.size();
  return place_->write(plan_.end(), directory);
}

Result<void> SnapshotWriter::put_section(wire::ImageSection& section, StateOrigin& bytes,
                                         const std::stop_token& stop) {
  FERRY_TRY(bytes.next_section());
  for (std::uint64_t at = section.offset;;) {
    const auto piece = FERRY_TRY(bytes.next_piece());
    if (piece.empty()) return {};
    if (stop.stop_requested()) return fail(Errc::cancelled, "cancelled");
    std::vector<std::byte> units(piece.begin(), piece.end());
    units.resize(wire::padded(units.size()));
    for (std::size_t unit = 0; unit < units.size(); unit += k_unit_bytes) {
      section.checksum =
          chain(section.checksum, xxh3_64(std::span(units).subspan(unit, k_unit_bytes)));
    }
    FERRY_TRY(place_->write(at, units));
    at += units.size();
  }
}

Result<void> SnapshotWriter::seal() {
  const std::vector<std::byte> index = FERRY_TRY(write_table());
  const PageBitmap present = this->present();
  const std::vector<std::byte> bitmap = wire::encode_image_bitmap(present, layout_);
  const wire::ImageHeader header{.id = fresh_id(),
                                 .layout = layout_,
                                 .units_present = present.count(),
                                 .index_checksum = xxh3_64(index),
                                 .bitmap_checksum = xxh3_64(bitmap),
                                 .directory_bytes = directory_bytes_,
                                 .file_bytes = file_bytes_};
  FERRY_TRY(place_->write(plan_.index.offset, index));
  FERRY_TRY(place_->write(plan_.bitmap.offset, bitmap));
  FERRY_TRY(place_->write(plan_.header.offset, wire::encode(header)));
  return place_->keep();
}

}  // namespace ferry
