#include "wire/image_format.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bit_words.h"
#include "wire/control.h"
#include "wire/framing.h"

namespace ferry::wire {
namespace {

constexpr std::size_t k_fixed_header_bytes =
    8 + 2 + 2 + 4 + 4 + 16 + 4 + 2 * 8 + 4 * 16 + 3 * 8 + 2;
constexpr std::size_t k_min_image_region_bytes = 2 + 1 + 4 * 8;
constexpr std::size_t k_min_section_bytes = 2 + 1 + 4 + 3 * 8;

constexpr MessageForm k_header_form{"image header", magic_of("FRYI"),
                                    k_fixed_header_bytes + k_checksum_bytes,
                                    k_max_image_header_bytes};
constexpr MessageForm k_directory_form{"directory of sections", magic_of("FRYS"),
                                       k_prologue_bytes + 2 + k_checksum_bytes,
                                       k_max_image_directory_bytes};

std::unexpected<Error> refuse_image(std::string why, Errc code = Errc::protocol) {
  return fail(code, "decode image: " + std::move(why));
}

std::size_t header_length(const Layout& layout) {
  std::size_t length = k_fixed_header_bytes + k_checksum_bytes;
  for (const LayoutRegion& region : layout.regions) length += 2 + region.name.size() + 4 * 8;
  return length;
}

void write_stretch(ByteWriter& out, Stretch stretch) {
  out.u64(stretch.offset);
  out.u64(stretch.length);
}

/// Pads with zeros to whole units.
std::vector<std::byte> in_units(std::vector<std::byte> bytes) {
  bytes.resize(padded(bytes.size()));
  return bytes;
}

/// The message at the front of whole units, of which it needs the last one too, and nothing but
/// zeros behind it.
Result<std::span<const std::byte>> message_in(std::span<const std::byte> units,
                                              const MessageForm& form) {
  const std::size_t length = FERRY_TRY(stated_length(units, form));
  if (padded(length) != units.size()) {
    return refuse_image(fmt::format("a {} of {} bytes in {}", form.name, length, units.size()));
  }
  if (std::ranges::any_of(units.subspan(length), [](std::byte b) { return b != std::byte{0}; })) {
    return refuse_image(fmt::format("the padding behind the {} is damaged", form.name),
                        Errc::integrity);
  }
  return units.first(length);
}

Result<ImageHeader> read_header(ByteReader& in, std::vector<Stretch>& stretches,
                                std::vector<std::uint64_t>& offsets) {
  ImageHeader header;
  const std::uint16_t version = in.u16();
  if (version != k_image_version) {
    return refuse_image(
        fmt::format("it is of version {}, and this build reads {}", version, k_image_version),
        Errc::unsupported);
  }
  if (in.u16() != 0) return refuse_image("a reserved field is set");
  if (const std::uint32_t critical = in.u32(); critical != 0) {
    return refuse_image(fmt::format("it needs features {:#x}, which this build has not", critical),
                        Errc::unsupported);
  }
  (void)in.u32();  // optional features: none is known
  header.id = in.array<16>();
  if (in.u32() != k_unit_bytes) return refuse_image("its units are not of 4096 bytes");
  header.file_bytes = in.u64();
  header.units_present = in.u64();
  for (Stretch& stretch : stretches) {
    stretch.offset = in.u64();
    stretch.length = in.u64();
  }
  header.index_checksum = in.u64();
  header.bitmap_checksum = in.u64();
  header.directory_bytes = in.u64();
  const std::size_t count = in.u16();
  if (count > k_max_regions || count > in.remaining() / k_min_image_region_bytes) {
    return refuse_image(fmt::format("{} regions in {} bytes", count, in.remaining()));
  }
  header.layout.regions.resize(count);
  offsets.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    LayoutRegion& region = header.layout.regions[i];
    region.name = in.string();
    region.guest_address = in.u64();
    region.page_size = in.u64();
    region.length = in.u64();
    offsets[i] = in.u64();
  }
  return header;
}

/// The places that a header names must be those that its layout gives: there are no others.
Result<void> check_places(const ImageHeader& header, const std::vector<Stretch>& stretches,
                          const std::vector<std::uint64_t>& offsets) {
  const ImagePlan plan = plan_image(header.layout);
  bool same = stretches[0] == plan.index && stretches[1] == plan.bitmap &&
              stretches[2] == plan.table && stretches[3] == plan.data;
  std::uint64_t units = 0;
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    same = same && offsets[i] == plan.regions[i].data_offset;
    units += plan.regions[i].units;
  }
  if (!same) return refuse_image("something stands where no image has it");
  if (header.units_present > units) return refuse_image("more pages than the guest has");
  if (header.directory_bytes > padded(k_max_image_directory_bytes) ||
      header.directory_bytes % k_unit_bytes != 0) {
    return refuse_image("a directory of sections that cannot be");
  }
  const std::uint64_t least = plan.end() + header.directory_bytes;
  if (header.directory_bytes == 0 ? header.file_bytes != least : header.file_bytes < least) {
    return refuse_image("a length that does not fit its parts");
  }
  return {};
}

}  // namespace

ImagePlan plan_image(const Layout& layout) {
  ImagePlan plan;
  std::uint64_t bits = 0;
  std::uint64_t data_units = 0;
  for (const LayoutRegion& region : layout.regions) {
    const std::uint64_t units = units_in(region.length);
    plan.regions.push_back({units, bits, plan.blocks, data_units * k_unit_bytes});
    bits += words_for(units) * k_word_bits;
    plan.blocks += (units + k_checksums_a_block - 1) / k_checksums_a_block;
    data_units += units;
  }
  plan.header = {0, padded(header_length(layout))};
  const auto behind = [](Stretch before, std::uint64_t bytes) {
    return Stretch{before.offset + before.length, padded(bytes)};
  };
  plan.index = behind(plan.header, plan.blocks * 8);
  plan.bitmap = behind(plan.index, bits / 8);
  plan.table = behind(plan.bitmap, plan.blocks * k_unit_bytes);
  plan.data = behind(plan.table, data_units * k_unit_bytes);
  for (ImagePlan::Region& region : plan.regions) region.data_offset += plan.data.offset;
  return plan;
}

std::vector<std::byte> encode(const ImageHeader& header) {
  const ImagePlan plan = plan_image(header.layout);
  std::vector<std::byte> bytes;
  MessageWriter out(bytes, k_header_form);
  out.u16(k_image_version);
  out.u16(0);
  out.u32(0);
  out.u32(0);
  out.bytes(header.id);
  out.u32(k_unit_bytes);
  out.u64(header.file_bytes);
  out.u64(header.units_present);
  for (const Stretch& stretch : {plan.index, plan.bitmap, plan.table, plan.data}) {
    write_stretch(out, stretch);
  }
  out.u64(header.index_checksum);
  out.u64(header.bitmap_checksum);
  out.u64(header.directory_bytes);
  out.u16(static_cast<std::uint16_t>(header.layout.regions.size()));
  for (std::size_t i = 0; i < header.layout.regions.size(); ++i) {
    const LayoutRegion& region = header.layout.regions[i];
    out.string(region.name);
    out.u64(region.guest_address);
    out.u64(region.page_size);
    out.u64(region.length);
    out.u64(plan.regions[i].data_offset);
  }
  out.seal();
  return in_units(std::move(bytes));
}

Result<std::size_t> image_header_bytes(std::span<const std::byte> prologue) {
  return padded(FERRY_TRY(stated_length(prologue, k_header_form)));
}

Result<ImageHeader> decode_image_header(std::span<const std::byte> bytes) {
  const auto message = FERRY_TRY(message_in(bytes, k_header_form));
  OpenedMessage opened = FERRY_TRY(open_message(message, k_header_form));
  std::vector<Stretch> stretches(4);
  std::vector<std::uint64_t> offsets;
  ImageHeader header = FERRY_TRY(read_header(opened.fields, stretches, offsets));
  FERRY_TRY(close_message(opened.fields, k_header_form));
  FERRY_TRY(check_layout(header.layout, Errc::protocol));
  FERRY_TRY(check_places(header, stretches, offsets));
  return header;
}

Result<PageBitmap> decode_image_bitmap(std::span<const std::byte> bytes, const Layout& layout) {
  const ImagePlan plan = plan_image(layout);
  if (bytes.size() != plan.bitmap.length) return refuse_image("its bitmap has another length");
  PageBitmap present(layout);
  std::uint64_t behind = 0;  // the first bit that nobody has looked at
  const auto bit = [&](std::uint64_t at) {
    return (std::to_integer<unsigned>(bytes[at / 8]) >> (at % 8) & 1) != 0;
  };
  const auto none_in = [&](std::uint64_t from, std::uint64_t to) {
    while (from < to && !bit(from)) ++from;
    return from == to;
  };
  for (RegionId id = 0; id < plan.regions.size(); ++id) {
    const ImagePlan::Region& region = plan.regions[id];
    if (!none_in(behind, region.first_bit)) return refuse_image("a page that no region has");
    for (std::uint64_t unit = 0; unit < region.units;) {
      const std::byte eight = bytes[(region.first_bit + unit) / 8];
      if (unit % 8 == 0 && region.units - unit >= 8 &&
          (eight == std::byte{0} || eight == std::byte{0xff})) {
        if (eight != std::byte{0}) {
          present.mark({id, unit * k_unit_bytes, 8 * k_unit_bytes});
        }
        unit += 8;
        continue;
      }
      if (bit(region.first_bit + unit)) present.mark({id, unit * k_unit_bytes, 1});
      ++unit;
    }
    behind = region.first_bit + region.units;
  }
  if (!none_in(behind, bytes.size() * 8)) return refuse_image("a page that no region has");
  return present;
}

std::vector<std::byte> encode_image_bitmap(const PageBitmap& present, const Layout& layout) {
  const ImagePlan plan = plan_image(layout);
  std::vector<std::byte> bytes(plan.bitmap.length);
  for (RegionId id = 0; id < plan.regions.size(); ++id) {
    std::uint64_t from = 0;
    while (const auto run = present.next_run(id, from)) {
      const std::uint64_t first = plan.regions[id].first_bit + run->offset / k_unit_bytes;
      for (std::uint64_t at = first; at < first + units_in(run->length); ++at) {
        bytes[at / 8] |= std::byte{1} << (at % 8);
      }
      from = run->offset + padded(run->length);
    }
  }
  return bytes;
}

std::uint64_t place_sections(std::vector<ImageSection>& sections, std::uint64_t at) {
  if (sections.empty()) return at;
  at += encode(sections).size();
  for (ImageSection& section : sections) {
    section.offset = at;
    at += padded(section.length);
  }
  return at;
}

std::vector<std::byte> encode(const std::vector<ImageSection>& sections) {
  std::vector<std::byte> bytes;
  MessageWriter out(bytes, k_directory_form);
  out.u16(static_cast<std::uint16_t>(sections.size()));
  for (const ImageSection& section : sections) {
    out.string(section.name);
    out.u32(section.version);
    out.u64(section.length);
    out.u64(section.offset);
    out.u64(section.checksum);
  }
  out.seal();
  return in_units(std::move(bytes));
}

Result<std::vector<ImageSection>> decode_image_sections(std::span<const std::byte> bytes,
                                                        const ImageHeader& header) {
  const auto message = FERRY_TRY(message_in(bytes, k_directory_form));
  ByteReader in = FERRY_TRY(open_message(message, k_directory_form)).fields;
  const std::size_t count = in.u16();
  if (count == 0 || count > k_max_image_sections || count > in.remaining() / k_min_section_bytes) {
    return refuse_image(fmt::format("{} sections in {} bytes", count, in.remaining()));
  }
  std::uint64_t at = plan_image(header.layout).end() + bytes.size();
  std::vector<ImageSection> sections(count);
  for (ImageSection& section : sections) {
    section.name = in.string();
    section.version = in.u32();
    section.length = in.u64();
    section.offset = in.u64();
    section.checksum = in.u64();
    if (!in.ok()) break;  // close_message() says so
    if (section.name.empty() || section.name.size() > k_max_name_bytes) {
      return refuse_image("a section's name is too short or too long");
    }
    if (at > header.file_bytes || section.offset != at || section.length > header.file_bytes - at) {
      return refuse_image("a section stands where none can be");
    }
    at += padded(section.length);
  }
  FERRY_TRY(close_message(in, k_directory_form));
  if (at != header.file_bytes) return refuse_image("a length that does not fit its sections");
  return sections;
}

}  // namespace ferry::wire
