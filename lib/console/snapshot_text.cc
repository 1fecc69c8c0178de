#include "console/snapshot_text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/escape.h"
#include "console/amounts.h"

namespace ferry {
namespace {

using Json = nlohmann::ordered_json;

std::string hexadecimal(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", std::to_integer<int>(byte));
  return text;
}

/// In bytes, of one region.
std::uint64_t present_bytes(const Snapshot& snapshot, RegionId region) {
  std::uint64_t sum = 0;
  std::uint64_t from = 0;
  while (const auto run = snapshot.present().next_run(region, from)) {
    sum += run->length;
    from = run->offset + units_in(run->length) * k_unit_bytes;
  }
  return sum;
}

}  // namespace

std::string inspection_text(const Snapshot& snapshot) {
  const SnapshotInfo& info = snapshot.info();
  const auto& regions = snapshot.layout().regions;
  std::string text =
      fmt::format("snapshot {}, format {}: {} of memory in {} {}, {} of it not zeros; {} sections",
                  hexadecimal(info.id), info.version, bytes_text(info.memory_bytes), regions.size(),
                  regions.size() == 1 ? "region" : "regions", bytes_text(info.present_bytes),
                  info.sections.size());
  for (RegionId id = 0; id < regions.size(); ++id) {
    text += fmt::format(
        "\nregion {}: {} bytes, {} of them not zeros, at guest address {:#x}, pages "
        "of {}",
        in_quotes(regions[id].name), regions[id].length, present_bytes(snapshot, id),
        regions[id].guest_address, regions[id].page_size);
  }
  for (const SnapshotSection& section : info.sections) {
    text += fmt::format("\nsection {}: version {}, {} bytes", in_quotes(section.name),
                        section.version, section.length);
  }
  return text;
}

std::string inspection_event(const Snapshot& snapshot) {
  const SnapshotInfo& info = snapshot.info();
  const auto& layout = snapshot.layout().regions;
  Json regions = Json::array();
  for (RegionId id = 0; id < layout.size(); ++id) {
    regions.push_back({{"name", escaped(layout[id].name)},
                       {"bytes", layout[id].length},
                       {"present_bytes", present_bytes(snapshot, id)},
                       {"guest_address", layout[id].guest_address},
                       {"page_bytes", layout[id].page_size}});
  }
  Json sections = Json::array();
  for (const SnapshotSection& section : info.sections) {
    sections.push_back(
        {{"name", escaped(section.name)}, {"version", section.version}, {"bytes", section.length}});
  }
  return Json{{"event", "snapshot"},        {"id", hexadecimal(info.id)},
              {"version", info.version},    {"file_bytes", info.file_bytes},
              {"bytes", info.memory_bytes}, {"present_bytes", info.present_bytes},
              {"regions", regions},         {"sections", sections}}
      .dump();
}

std::string check_text(const SnapshotCheck& check) {
  std::string text;
  for (const Damage& damage : check.damages) text += "damaged: " + escaped(damage.what) + "\n";
  return text + (check.damaged == 0 ? fmt::format("every byte is as it was written; {} read",
                                                  bytes_text(check.bytes_read))
                                    : fmt::format("{} damages found", check.damaged));
}

std::string check_event(const SnapshotCheck& check) {
  Json damages = Json::array();
  for (const Damage& damage : check.damages) damages.push_back(escaped(damage.what));
  return Json{{"event", "checked"},
              {"bytes_read", check.bytes_read},
              {"damaged", check.damaged},
              {"damages", damages}}
      .dump();
}

}  // namespace ferry
