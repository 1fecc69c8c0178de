#include "session/image_state.h"

#include <utility>

namespace ferry {

Result<void> ImageState::begin_section(std::string_view name, std::uint32_t version) {
  if (sections_.size() == wire::k_max_image_sections) {
    return fail(Errc::usage, "save device state: a snapshot has at most " +
                                 std::to_string(wire::k_max_image_sections) + " sections");
  }
  FERRY_TRY(spool_.begin_section(name, version));
  wire::ImageSection& section = sections_.emplace_back();
  section.name = name;
  section.version = version;
  return {};
}

Result<void> ImageState::append(std::span<const std::byte> piece) {
  if (stop_.stop_requested()) return fail(Errc::cancelled, "cancelled");
  return spool_.append(piece);
}

Result<void> ImageState::end_section(std::uint64_t length, std::uint64_t checksum) {
  FERRY_TRY(spool_.end_section(length, checksum));
  sections_.back().length = length;
  return {};
}

Result<void> ImageState::put_into(SnapshotWriter& writer) {
  FERRY_TRY(spool_.close());
  return writer.put_sections(std::move(sections_), spool_, stop_);
}

}  // namespace ferry
