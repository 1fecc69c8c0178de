#include "snapshot/snapshot_state.h"

#include <algorithm>

namespace ferry {

Result<std::optional<StateSection>> SnapshotState::next_section() {
  if (next_ == reader_.sections().size()) return std::nullopt;
  const wire::ImageSection& section = reader_.sections()[next_];
  FERRY_TRY(reader_.verify_section(section));
  ++next_;
  given_ = 0;
  return StateSection{.name = section.name, .version = section.version, .length = section.length};
}

Result<std::span<const std::byte>> SnapshotState::next_piece() {
  if (next_ == 0) return std::span<const std::byte>{};
  const wire::ImageSection& section = reader_.sections()[next_ - 1];
  piece_.resize(std::min<std::uint64_t>(k_state_piece_bytes, section.length - given_));
  if (piece_.empty()) return std::span<const std::byte>{};
  FERRY_TRY(reader_.place().read(section.offset + given_, piece_));
  given_ += piece_.size();
  return std::span<const std::byte>(piece_);
}

}  // namespace ferry
