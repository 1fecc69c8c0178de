// One file as a place.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "ferry/place.h"
#include "ferry/result.h"

namespace ferry {

/// See Places. A directory, a pipe, a socket or a device is Errc::usage: only a regular file can be
/// written beside its name, and renamed.
Result<std::unique_ptr<NewPlace>> create_file_place(const std::filesystem::path& path,
                                                    std::uint64_t length,
                                                    const FileOptions& options);
Result<std::unique_ptr<Place>> open_file_place(const std::filesystem::path& path,
                                               const FileOptions& options);

}  // namespace ferry
