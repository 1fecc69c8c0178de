// Memory images on their way in.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/output_file.h"
#include "ferry/guest.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// Writes what arrives to image files, as a guest that never runs: prepare() makes them durable,
/// start() gives them their names. Before that nobody sees them, and dropping the destination
/// leaves nothing behind. The sender's names are taken for hostile.
///
/// Pages that a device places need memory that may be pinned for long, which the pages of a file
/// may not be: they land in anonymous memory, as much of it as there is image, and prepare() writes
/// it down.
class ImageDestination final : public DestinationGuest {
 public:
  struct Options {
    /// A file; or a folder, which exists, for any number of images under their own names. A path
    /// that ends in '/' is meant as a folder.
    std::filesystem::path path;
    Existing existing = Existing::keep;
    /// Ends prepare() soon, where it writes down what was placed in memory.
    std::stop_token stop{};
  };

  /// Checks all that can be known before a sender comes. Errc::system where the folder is missing
  /// or cannot be written to, or where the output exists and is to be kept.
  static Result<std::unique_ptr<ImageDestination>> create(Options options);
  ~ImageDestination() override;

  /// Errc::refused for names and numbers that a sender should not have sent; Errc::system where a
  /// file cannot be made. Regions have a descriptor and no mapping.
  Result<GuestMemory> map_memory(const Layout& wanted) override;
  /// Regions have a mapping and no descriptor. Errc::system where there is not so much memory.
  Result<GuestMemory> map_placed_memory(const Layout& wanted) override;
  /// Errc::cancelled after a stop request.
  Result<void> prepare() override;
  Result<void> start(const OwnerToken& token) override;

 private:
  enum class Shape { file, folder };

  ImageDestination(Options options, Shape shape, UniqueFd folder)
      : options_(std::move(options)), shape_(shape), folder_(std::move(folder)) {}

  Result<void> judge(const Layout& wanted) const;
  std::string name_for(const LayoutRegion& region) const;
  std::filesystem::path shown_as(const std::string& name) const;
  Result<void> check_free(const std::string& name) const;
  Result<void> show_all();
  void unmap() noexcept;
  void take_back(std::size_t shown) noexcept;

  const Options options_;
  const Shape shape_;
  UniqueFd
      folder_;  // that the outputs are in; declared before them, because they use it to the end
  std::vector<std::string> names_;
  std::vector<OutputFile> outputs_;
  std::vector<std::span<std::byte>> landings_;  // of what is placed: one an output, or none at all
};

}  // namespace ferry
