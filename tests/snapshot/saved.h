// A small snapshot, made as the library makes them, with or without sections behind it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "session/image_recipient.h"
#include "snapshot/snapshot_reader.h"
#include "tests/session/memory_guest.h"
#include "tests/snapshot/memory_place.h"
#include "wire/image_format.h"

namespace ferry::test {

/// Every third unit of the source is zeros; one region ends in a partial unit, one is empty.
inline Layout small_layout() { return layout_of({40 * k_unit_bytes, 0, 7 * k_unit_bytes + 5}); }

/// Writes `memory` to `places` as one round does.
inline void save(Runtime& runtime, const GuestMemory& memory, Places& places) {
  SendOptions options;
  options.channels = 2;
  ImageRecipient recipient(runtime, memory, options, {});
  ASSERT_TRUE(recipient.connect(places, Uri::parse("file:///a").value()));
  ASSERT_TRUE(recipient.layout(memory.layout()));
  ASSERT_TRUE(recipient.begin_round(0, Motion::still));
  for (const MemoryRegion& region : memory.regions()) {
    if (region.length == 0) continue;
    ASSERT_TRUE(recipient.submit({region.id, 0, region.length}, Content::data));
  }
  DirtyBitmap again(memory.layout());
  ASSERT_TRUE(recipient.end_round(0, again));
  ASSERT_TRUE(recipient.prepare({}));
  ASSERT_TRUE(recipient.commit({}));
}

inline wire::ImageHeader header_of(const MemoryFile& file) {
  const auto bytes = std::span(file.bytes);
  const auto length = wire::image_header_bytes(bytes.first(wire::k_prologue_bytes));
  const auto header = wire::decode_image_header(bytes.first(length.value()));
  return header.value();
}

/// Puts sections of device state behind a snapshot that has none.
inline void append_sections(
    MemoryFile& file, const std::vector<std::pair<std::string, std::vector<std::byte>>>& states) {
  wire::ImageHeader header = header_of(file);
  std::vector<wire::ImageSection> sections;
  for (const auto& [name, state] : states) {
    auto units = state;
    units.resize(wire::padded(state.size()));
    std::uint64_t checksum = 0;
    for (std::size_t at = 0; at < units.size(); at += k_unit_bytes) {
      checksum = chain(checksum, xxh3_64(std::span(units).subspan(at, k_unit_bytes)));
    }
    sections.push_back({.name = name, .version = 3, .length = state.size(), .checksum = checksum});
  }
  header.file_bytes = wire::place_sections(sections, header.file_bytes);
  const auto directory = wire::encode(sections);
  header.directory_bytes = directory.size();
  MemoryPlace place(std::shared_ptr<MemoryFile>(&file, [](MemoryFile*) {}));
  ASSERT_TRUE(place.write(file.bytes.size(), directory));
  file.bytes.resize(header.file_bytes);
  for (std::size_t i = 0; i < states.size(); ++i) {
    ASSERT_TRUE(place.write(sections[i].offset, states[i].second));
  }
  ASSERT_TRUE(place.write(0, wire::encode(header)));
}

}  // namespace ferry::test
