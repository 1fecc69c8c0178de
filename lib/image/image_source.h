// Memory images on their way out.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "ferry/guest.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// One or more image files as a guest that never runs: a region each, named as the file is. Nothing
/// is ever dirty, and pause() has nothing to stop; whoever writes to an image while it is sent gets
/// what the sender happens to read.
class ImageSource final : public SourceGuest {
 public:
  enum class Access {
    descriptor,  ///< pages are read into a lane's buffer: cheaper than the faults of a mapping
    mapped,      ///< pages are sent from the page cache. Whoever makes an image shorter meanwhile
                 ///< ends the process (SIGBUS)
  };

  /// Opens regular files of any length (0 too) and block devices, for reading only. Errc::system
  /// where one cannot be read; Errc::usage where two have the same base name, because they would be
  /// one file at the destination.
  static Result<std::unique_ptr<ImageSource>> open(std::vector<std::filesystem::path> images,
                                                   Access access = Access::descriptor);
  ~ImageSource() override;

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

  explicit ImageSource(std::vector<UniqueFd> files) : files_(std::move(files)) {}
  Result<void> map(std::vector<MemoryRegion>& regions);

  std::vector<UniqueFd> files_;
  std::vector<std::span<std::byte>> mappings_;
  GuestMemory memory_;
  NeverDirty never_dirty_;
};

}  // namespace ferry
