#include "image/image_source.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <set>
#include <string>
#include <utility>

#include "base/escape.h"
#include "wire/limits.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;

std::string opening(const fs::path& image) { return "open image " + in_quotes(image.native()); }

std::string remedy_for(int sys) {
  switch (sys) {
    case ENOENT:
    case ENOTDIR:
      return "is the path right?";
    case EACCES:
    case EPERM:
      return "may this user read it?";
    default:
      return {};
  }
}

Result<void> check_kind(const struct stat& status, const fs::path& image) {
  if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) return {};
  if (S_ISDIR(status.st_mode)) {
    return fail(Errc::system, opening(image) + ": is a directory", "name the image files in it");
  }
  return fail(Errc::system, opening(image) + ": not a regular file or block device");
}

Result<UniqueFd> open_for_reading(const fs::path& image) {
  // Judged before it is opened: opening is an act for some devices, and waits for a writer on a
  // FIFO.
  struct stat status {};
  if (::stat(image.c_str(), &status) != 0) {
    return fail_sys(Errc::system, errno, opening(image), remedy_for(errno));
  }
  FERRY_TRY(check_kind(status, image));
  // And once more after, lest it was exchanged in between; O_NONBLOCK for the same reason.
  UniqueFd file(::open(image.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file || ::fstat(file.get(), &status) != 0) {
    return fail_sys(Errc::system, errno, opening(image), remedy_for(errno));
  }
  FERRY_TRY(check_kind(status, image));
  // From here on it may wait: by io_uring some kernels do not, of a file that says so.
  if (::fcntl(file.get(), F_SETFL, 0) != 0) return fail_sys(Errc::system, errno, opening(image));
  return file;
}

/// In bytes.
Result<std::uint64_t> length_of(const UniqueFd& file, const fs::path& image) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return fail_sys(Errc::system, errno, opening(image));
  if (!S_ISBLK(status.st_mode)) return static_cast<std::uint64_t>(status.st_size);
  std::uint64_t bytes = 0;
  if (::ioctl(file.get(), BLKGETSIZE64, &bytes) != 0) {
    return fail_sys(Errc::system, errno, opening(image) + ": ask for the length");
  }
  return bytes;
}

Result<void> check_names(const std::vector<fs::path>& images) {
  if (images.empty()) return fail(Errc::usage, "open images: none given");
  if (images.size() > wire::k_max_regions) {
    return fail(Errc::usage, "open images: more than " + std::to_string(wire::k_max_regions));
  }
  std::set<std::string> names;
  for (const fs::path& image : images) {
    const std::string name = image.filename().native();
    // A path that ends in '/' has no base name, and is a folder or an error: the open says which.
    if (!name.empty() && !names.insert(name).second) {
      return fail(Errc::usage, "open images: two of them are named " + in_quotes(name),
                  "the folder part is not sent: rename one, or send it by itself");
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<ImageSource>> ImageSource::open(std::vector<fs::path> images,
                                                       Access access) {
  FERRY_TRY(check_names(images));
  std::vector<UniqueFd> files;
  std::vector<MemoryRegion> regions;
  std::uint64_t room = wire::k_max_memory_bytes;
  for (const fs::path& image : images) {
    UniqueFd file = FERRY_TRY(open_for_reading(image));
    const std::uint64_t length = FERRY_TRY(length_of(file, image));
    if (length > room) {
      return fail(Errc::system,
                  opening(image) + ": longer than the 16 TiB that one session carries");
    }
    room -= length;
    regions.push_back({.id = static_cast<RegionId>(regions.size()),
                       .name = image.filename().native(),
                       .length = length,
                       .backing = Backing::file,
                       .fd = file.get(),
                       .path = image.native()});
    files.push_back(std::move(file));
  }
  // Owns the mappings from the first on.
  std::unique_ptr<ImageSource> source(new ImageSource(std::move(files)));
  if (access == Access::mapped) FERRY_TRY(source->map(regions));
  source->memory_ = FERRY_TRY(GuestMemory::create(std::move(regions)));
  return source;
}

ImageSource::~ImageSource() {
  for (const std::span<std::byte> mapping : mappings_) ::munmap(mapping.data(), mapping.size());
}

Result<void> ImageSource::map(std::vector<MemoryRegion>& regions) {
  for (MemoryRegion& region : regions) {
    if (region.length == 0) continue;
    void* const at = ::mmap(nullptr, region.length, PROT_READ, MAP_SHARED, region.fd, 0);
    if (at == MAP_FAILED) {
      return fail_sys(Errc::system, errno, "map image " + in_quotes(region.name));
    }
    region.host = static_cast<std::byte*>(at);
    mappings_.emplace_back(region.host, region.length);
  }
  return {};
}

}  // namespace ferry
