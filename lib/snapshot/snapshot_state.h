// Device state out of a snapshot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <utility>
#include <vector>

#include "ferry/device_state.h"
#include "snapshot/snapshot_reader.h"

namespace ferry {

/// Gives the sections in their order. Each is verified as a whole before the first byte of it is
/// given, so it is read twice; and what is given is verified again, since the file may change
/// between: the last piece of a section is an error where any of it did. A stop request is
/// Errc::cancelled, at the next piece.
class SnapshotState final : public StateOrigin {
 public:
  SnapshotState(const SnapshotReader& reader, std::stop_token stop)
      : reader_(reader), stop_(std::move(stop)) {}

  Result<std::optional<StateSection>> next_section() override;
  Result<std::span<const std::byte>> next_piece() override;

 private:
  const SnapshotReader& reader_;
  const std::stop_token stop_;
  std::size_t next_ = 0;        // the section that next_section() gives
  std::uint64_t given_ = 0;     // bytes of the one before it
  std::uint64_t checksum_ = 0;  // chain over the units of those
  std::vector<std::byte> piece_;
};

}  // namespace ferry
