// Device state on its way into a snapshot.
#pragma once

#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "session/state_spool.h"
#include "snapshot/snapshot_writer.h"
#include "wire/image_format.h"

namespace ferry {

/// Keeps the sections until the snapshot is sealed: where the first one begins depends on the
/// names of all. Used by one thread.
class ImageState final : public StateSink {
 public:
  /// `folder` is where those go that are more than memory should hold. A stop request is
  /// Errc::cancelled, at the next piece.
  ImageState(std::string folder, std::stop_token stop)
      : spool_(UINT64_MAX, std::move(folder)), stop_(std::move(stop)) {}

  Result<void> begin_section(std::string_view name, std::uint32_t version) override;
  Result<void> append(std::span<const std::byte> piece) override;
  Result<void> end_section(std::uint64_t length, std::uint64_t checksum) override;

  /// All has been said: writes it behind the pages. Once.
  Result<void> put_into(SnapshotWriter& writer);

 private:
  StateSpool spool_;
  const std::stop_token stop_;
  std::vector<wire::ImageSection> sections_;
};

}  // namespace ferry
