// Memory images on their way out.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "ferry/guest.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// One or more image files as a guest that never runs: a region each, named as the file is, reached
/// by its descriptor alone. Nothing is ever dirty, and pause() has nothing to stop; whoever writes
/// to an image while it is sent gets what the sender happens to read.
class ImageSource final : public SourceGuest {
 public:
  /// Opens regular files of any length (0 too) and block devices, for reading only. Errc::system
  /// where one cannot be read; Errc::usage where two have the same base name, because they would be
  /// one file at the destination.
  static Result<std::unique_ptr<ImageSource>> open(std::vector<std::filesystem::path> images);

  const GuestMemory& memory() override { return memory_; }
  DirtyTracker& dirty_tracker() override { return never_dirty_; }
  Result<void> pause() override { return {}; }
  Result<void> resume() override { return {}; }

 private:
  class NeverDirty final : public DirtyTracker {
   public:
    Result<void> start() override { return {}; }
    Result<void> harvest(DirtyBitmap&) override { return {}; }
    void stop() noexcept override {}
  };

  ImageSource(std::vector<UniqueFd> files, GuestMemory memory)
      : files_(std::move(files)), memory_(std::move(memory)) {}

  std::vector<UniqueFd> files_;
  GuestMemory memory_;
  NeverDirty never_dirty_;
};

}  // namespace ferry
