#include "snapshot/snapshot_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/checksum.h"
#include "base/cursor.h"
#include "base/escape.h"
#include "memory/zero_page.h"
#include "snapshot/checksum_reader.h"

namespace ferry {
namespace {

constexpr std::uint64_t k_piece_bytes = PlacedIo::k_staging_bytes;

std::vector<std::uint64_t> numbers_in(std::span<const std::byte> bytes, std::uint64_t count) {
  ByteReader in(bytes);
  std::vector<std::uint64_t> numbers(count);
  for (std::uint64_t& number : numbers) number = in.u64();
  return numbers;
}

}  // namespace

Result<std::unique_ptr<SnapshotReader>> SnapshotReader::open(std::unique_ptr<Place> place,
                                                             std::string shown_as) {
  auto reader = FERRY_TRY(borrow(*place, std::move(shown_as)));
  reader->owned_ = std::move(place);
  return reader;
}

Result<std::unique_ptr<SnapshotReader>> SnapshotReader::borrow(Place& place, std::string shown_as) {
  std::unique_ptr<SnapshotReader> reader(new SnapshotReader(std::move(shown_as)));
  reader->place_ = &place;
  if (auto read = reader->read_all(); !read) {
    return std::unexpected(reader->of_file(std::move(read).error()));
  }
  return reader;
}

Result<void> SnapshotReader::read_all() {
  FERRY_TRY(read_header());
  const auto bitmap = FERRY_TRY(read(plan_.bitmap));
  if (xxh3_64(bitmap) != header_.bitmap_checksum) return damaged("the bitmap of pages");
  present_ = FERRY_TRY(wire::decode_image_bitmap(bitmap, header_.layout));
  if (present_.count() != header_.units_present) return damaged("the number of pages");
  const auto index = FERRY_TRY(read(plan_.index));
  if (xxh3_64(index) != header_.index_checksum) return damaged("the index of checksums");
  if (!is_zero(std::span(index).subspan(plan_.blocks * 8))) return damaged("the index's padding");
  index_ = numbers_in(index, plan_.blocks);
  if (header_.directory_bytes > 0) FERRY_TRY(read_directory());

  info_ = {.id = header_.id,
           .version = wire::k_image_version,
           .file_bytes = header_.file_bytes,
           .memory_bytes = 0,
           .present_bytes = header_.units_present * k_unit_bytes,
           .sections = {}};
  for (const LayoutRegion& region : header_.layout.regions) info_.memory_bytes += region.length;
  for (const auto& section : sections_) {
    info_.sections.push_back({section.name, section.version, section.length});
  }
  return {};
}

Result<void> SnapshotReader::read_header() {
  const std::uint64_t length = place_->length();
  if (length < k_unit_bytes) return damaged("all of it: too short to be a snapshot");
  const auto first = FERRY_TRY(read({0, k_unit_bytes}));
  const std::size_t whole =
      FERRY_TRY(wire::image_header_bytes(std::span(first).first(wire::k_prologue_bytes)));
  if (whole > length) return damaged("its end: it is cut short");
  header_ = FERRY_TRY(wire::decode_image_header(FERRY_TRY(read({0, whole}))));
  if (header_.file_bytes != length) {
    return damaged(fmt::format("its end: {} bytes long, not {}", length, header_.file_bytes));
  }
  plan_ = wire::plan_image(header_.layout);
  return {};
}

Result<void> SnapshotReader::read_directory() {
  const auto bytes = FERRY_TRY(read({plan_.end(), header_.directory_bytes}));
  sections_ = FERRY_TRY(wire::decode_image_sections(bytes, header_));
  return {};
}

Result<std::vector<std::byte>> SnapshotReader::read(Stretch stretch) const {
  std::vector<std::byte> bytes(stretch.length);
  FERRY_TRY(place_->read(stretch.offset, bytes));
  return bytes;
}

Result<std::unique_ptr<PlacedIo>> SnapshotReader::lane(
    std::span<const MemoryRegion> outside) const {
  std::vector<std::uint64_t> offsets;
  for (const auto& region : plan_.regions) offsets.push_back(region.data_offset);
  return place_->lane(std::move(offsets), outside);
}

Result<std::vector<std::uint64_t>> SnapshotReader::checksums(const ChecksumBlock& block) const {
  const std::uint64_t number = plan_.regions[block.region].first_block + block.number;
  std::array<std::byte, k_unit_bytes> bytes;
  FERRY_TRY(place_->read(plan_.table.offset + number * k_unit_bytes, bytes));
  if (xxh3_64(bytes) != index_[number]) {
    return damaged(name_of(block));
  }
  return numbers_in(bytes, wire::k_checksums_a_block);
}

std::vector<std::uint64_t> SnapshotReader::damaged_in(const PageRun& run,
                                                      std::span<const std::byte> units,
                                                      std::span<const std::uint64_t> checksums) {
  std::vector<std::uint64_t> found;
  for (std::uint64_t at = 0; at < units.size(); at += k_unit_bytes) {
    if (xxh3_64(units.subspan(at, k_unit_bytes)) != checksums[at / k_unit_bytes]) {
      found.push_back(run.offset + at);
    }
  }
  return found;
}

Result<void> SnapshotReader::fetch(const PageRun& run, std::span<std::byte> into) const {
  const auto& regions = header_.layout.regions;
  if (run.region >= regions.size() || run.offset % k_unit_bytes != 0 ||
      run.offset > regions[run.region].length ||
      run.length > regions[run.region].length - run.offset || into.size() != run.length) {
    return fail(Errc::usage, fmt::format("fetch {} bytes at offset {:#x} of region {} from {}: it "
                                         "has no such run",
                                         run.length, run.offset, run.region, in_quotes(shown_as_)));
  }
  for (std::uint64_t done = 0; done < run.length;) {
    const PageRun piece{run.region, run.offset + done, std::min(run.length - done, k_piece_bytes)};
    FERRY_TRY(fetch_present(piece, into.subspan(done, piece.length)));
    done += piece.length;
  }
  return {};
}

/// A piece of at most k_piece_bytes: what is present of it, between zeros.
Result<void> SnapshotReader::fetch_present(const PageRun& run, std::span<std::byte> into) const {
  std::ranges::fill(into, std::byte{0});
  const std::uint64_t end = run.offset + run.length;
  std::vector<std::byte> units;
  ChecksumReader checksums(*this);
  for (std::uint64_t from = run.offset; from < end;) {
    const auto there = present_.next_run(run.region, from, k_piece_bytes);
    if (!there || there->offset >= end) return {};
    const std::uint64_t length = std::min(end - there->offset, there->length);
    const PageRun whole =
        ChecksumReader::in_one_block({run.region, there->offset, wire::padded(length)});
    units.resize(whole.length);
    FERRY_TRY(place_->read(plan_.regions[run.region].data_offset + there->offset, units));
    const auto found = damaged_in(whole, units, FERRY_TRY(checksums.of(whole)));
    if (!found.empty()) return damaged(name_of(run.region, found.front()));
    std::ranges::copy(std::span(units).first(std::min(length, whole.length)),
                      into.begin() + static_cast<std::ptrdiff_t>(there->offset - run.offset));
    from = there->offset + units.size();
  }
  return {};
}

template <class Take>
Result<void> SnapshotReader::read_section(const wire::ImageSection& section,
                                          const std::stop_token& stop, Take take) const {
  std::vector<std::byte> piece(std::min(wire::padded(section.length), k_piece_bytes));
  std::uint64_t checksum = 0;
  for (std::uint64_t done = 0; done < section.length;) {
    if (stop.stop_requested()) return fail(Errc::cancelled, "cancelled");
    const std::uint64_t length = std::min<std::uint64_t>(section.length - done, k_piece_bytes);
    const auto units = std::span(piece).first(wire::padded(length));
    FERRY_TRY(place_->read(section.offset + done, units));
    for (std::uint64_t at = 0; at < units.size(); at += k_unit_bytes) {
      checksum = chain(checksum, xxh3_64(units.subspan(at, k_unit_bytes)));
    }
    if (!is_zero(units.subspan(length))) {
      return damaged("the padding behind section " + in_quotes(section.name));
    }
    take(units.first(length));
    done += length;
  }
  if (checksum != section.checksum) return damaged("section " + in_quotes(section.name));
  return {};
}

Result<std::vector<std::byte>> SnapshotReader::section(std::size_t index) const {
  if (index >= sections_.size()) {
    return fail(Errc::usage, fmt::format("read section {} of {}: it has {}", index,
                                         in_quotes(shown_as_), sections_.size()));
  }
  std::vector<std::byte> bytes;
  bytes.reserve(sections_[index].length);
  FERRY_TRY(read_section(sections_[index], {}, [&](std::span<const std::byte> piece) {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
  }));
  return bytes;
}

Result<void> SnapshotReader::verify_section(const wire::ImageSection& section,
                                            const std::stop_token& stop) const {
  return read_section(section, stop, [](std::span<const std::byte>) {});
}

std::string SnapshotReader::name_of(RegionId region, std::uint64_t offset) const {
  return fmt::format("region {}, offset {:#x}", in_quotes(header_.layout.regions[region].name),
                     offset);
}

std::string SnapshotReader::name_of(const ChecksumBlock& block) const {
  return "the checksums from " + name_of(block.region, block.number * wire::k_bytes_a_block) +
         " on";
}

std::unexpected<Error> SnapshotReader::damaged(std::string what) const {
  return fail(Errc::integrity,
              fmt::format("read snapshot {}: damaged: {}", in_quotes(shown_as_), what));
}

/// What decoding says, told of the file.
Error SnapshotReader::of_file(Error error) const {
  if (error.code == Errc::protocol) {
    error.code = Errc::integrity;
    error.remedy = "is it a snapshot of Ferry's?";
  }
  const std::string act = "read snapshot " + in_quotes(shown_as_);
  if (!error.context.starts_with(act)) error.context = act + ": " + error.context;
  return error;
}

}  // namespace ferry
