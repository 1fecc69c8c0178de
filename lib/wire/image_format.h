// A guest's snapshot in a file: bytes <-> values, no I/O. docs/image-format.md has it to the byte.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ferry/memory.h"
#include "ferry/place.h"
#include "ferry/result.h"
#include "wire/limits.h"

namespace ferry::wire {

inline constexpr std::uint16_t k_image_version = 1;
/// Checksums in one block of the table, which is itself a unit.
inline constexpr std::uint64_t k_checksums_a_block = k_unit_bytes / 8;
inline constexpr std::uint64_t k_bytes_a_block = k_checksums_a_block * k_unit_bytes;

/// Where everything of an image stands in its file: a function of the layout, so that every page
/// has its place before the first is written. All stretches begin on units and are whole units,
/// follow each other without a gap, and may be empty.
struct ImagePlan {
  struct Region {
    std::uint64_t units = 0;
    std::uint64_t first_bit = 0;    ///< in the bitmap: a multiple of 64
    std::uint64_t first_block = 0;  ///< in the table
    std::uint64_t data_offset = 0;
    friend bool operator==(const Region&, const Region&) = default;
  };
  Stretch header;
  Stretch index;   ///< a checksum for each block of the table
  Stretch bitmap;  ///< a bit for each unit: is it there, or zeros?
  Stretch table;   ///< a checksum for each unit
  Stretch data;    ///< the regions, each with its last unit whole
  std::vector<Region> regions;
  std::uint64_t blocks = 0;  ///< of the table

  std::uint64_t end() const noexcept { return data.offset + data.length; }
  friend bool operator==(const ImagePlan&, const ImagePlan&) = default;
};
/// The layout keeps the rules of check_layout().
ImagePlan plan_image(const Layout& layout);

/// What an image says of itself first of all.
struct ImageHeader {
  std::array<std::byte, 16> id{};  ///< random, for people and logs
  Layout layout{};
  std::uint64_t units_present = 0;
  std::uint64_t index_checksum = 0;   ///< XXH3-64 of the whole stretch
  std::uint64_t bitmap_checksum = 0;  ///< likewise
  std::uint64_t directory_bytes = 0;  ///< of the sections' directory behind the data; 0: none
  std::uint64_t file_bytes = 0;       ///< of all of it
  friend bool operator==(const ImageHeader&, const ImageHeader&) = default;
};

/// The state of one device, say. Its bytes are the guest's own business.
struct ImageSection {
  std::string name{};  ///< 1 to 255 bytes
  std::uint32_t version = 0;
  std::uint64_t length = 0;    ///< in bytes
  std::uint64_t offset = 0;    ///< in the file; a multiple of a unit
  std::uint64_t checksum = 0;  ///< chain() from 0 over its units' XXH3-64, the last padded by zeros
  friend bool operator==(const ImageSection&, const ImageSection&) = default;
};

/// As long as its stretch in the plan: padded by zeros.
std::vector<std::byte> encode(const ImageHeader& header);
/// How long the header is that begins with these k_prologue_bytes, in whole units. Errc::protocol.
Result<std::size_t> image_header_bytes(std::span<const std::byte> prologue);
/// From all of its stretch. Errc::integrity where it is damaged, Errc::protocol where it makes no
/// sense, Errc::unsupported where it is of a version or with features that this build has not.
Result<ImageHeader> decode_image_header(std::span<const std::byte> bytes);

/// Marks what is present. `bytes` is all of the bitmap's stretch; a mark where there is no unit is
/// Errc::protocol.
Result<PageBitmap> decode_image_bitmap(std::span<const std::byte> bytes, const Layout& layout);
std::vector<std::byte> encode_image_bitmap(const PageBitmap& present, const Layout& layout);

/// The directory as it stands behind the data, padded by zeros to whole units. Offsets and file
/// length follow from the lengths: place_sections() puts them in.
std::vector<std::byte> encode(const std::vector<ImageSection>& sections);
/// `at` is where the directory begins. Gives the file's length.
std::uint64_t place_sections(std::vector<ImageSection>& sections, std::uint64_t at);
/// From all of its units. Errc::integrity, Errc::protocol.
Result<std::vector<ImageSection>> decode_image_sections(std::span<const std::byte> bytes,
                                                        const ImageHeader& header);

/// `bytes`, in whole units.
constexpr std::uint64_t padded(std::uint64_t bytes) noexcept {
  return units_in(bytes) * k_unit_bytes;
}

}  // namespace ferry::wire
