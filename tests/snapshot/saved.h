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

/// A section's name and its bytes.
using States = std::vector<std::pair<std::string, std::vector<std::byte>>>;

/// Writes `memory` to `places` as one round does, and the sections of version 3.
inline void save(Runtime& runtime, const GuestMemory& memory, Places& places,
                 const States& states = {}) {
  SendOptions options;
  options.channels = 2;
  const PrecopyGauge gauge;
  ImageRecipient recipient(runtime, memory, options, gauge, {});
  ASSERT_TRUE(recipient.connect(places, Uri::parse("file:///a").value()));
  ASSERT_TRUE(recipient.layout(memory.layout()));
  ASSERT_TRUE(recipient.begin_round(0, Motion::still));
  for (const MemoryRegion& region : memory.regions()) {
    if (region.length == 0) continue;
    ASSERT_TRUE(recipient.submit({region.id, 0, region.length}, Content::data));
  }
  DirtyBitmap again(memory.layout());
  ASSERT_TRUE(recipient.end_round(0, again));
  StateWriter state(recipient.state());
  for (const auto& [name, bytes] : states) state.section(name, 3).bytes(bytes);
  ASSERT_TRUE(state.finish());
  ASSERT_TRUE(recipient.prepare({}));
  ASSERT_TRUE(recipient.commit({}));
}

inline wire::ImageHeader header_of(const MemoryFile& file) {
  const auto bytes = std::span(file.bytes);
  const auto length = wire::image_header_bytes(bytes.first(wire::k_prologue_bytes));
  const auto header = wire::decode_image_header(bytes.first(length.value()));
  return header.value();
}

}  // namespace ferry::test
