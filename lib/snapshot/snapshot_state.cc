#include "snapshot/snapshot_state.h"

#include <algorithm>

#include "base/checksum.h"
#include "base/escape.h"

namespace ferry {

Result<std::optional<StateSection>> SnapshotState::next_section() {
  if (next_ == reader_.sections().size()) return std::nullopt;
  const wire::ImageSection& section = reader_.sections()[next_];
  FERRY_TRY(reader_.verify_section(section, stop_));
  ++next_;
  given_ = 0;
  checksum_ = 0;
  return StateSection{.name = section.name, .version = section.version, .length = section.length};
}

Result<std::span<const std::byte>> SnapshotState::next_piece() {
  if (next_ == 0) return std::span<const std::byte>{};
  if (stop_.stop_requested()) return fail(Errc::cancelled, "cancelled");
  const wire::ImageSection& section = reader_.sections()[next_ - 1];
  const std::uint64_t length =
      std::min<std::uint64_t>(k_state_piece_bytes, section.length - given_);
  if (length == 0) return std::span<const std::byte>{};
  piece_.resize(wire::padded(length));
  FERRY_TRY(reader_.place().read(section.offset + given_, piece_));
  for (std::size_t unit = 0; unit < piece_.size(); unit += k_unit_bytes) {
    checksum_ = chain(checksum_, xxh3_64(std::span(piece_).subspan(unit, k_unit_bytes)));
  }
  given_ += length;
  if (given_ == section.length && checksum_ != section.checksum) {
    return reader_.damaged("section " + in_quotes(section.name));
  }
  return std::span<const std::byte>(piece_).first(length);
}

}  // namespace ferry
