#include "image/image_destination.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <string_view>
#include <utility>

#include "base/escape.h"
#include "memory/region_io.h"
#include "memory/zero_page.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;

bool ends_in_slash(const fs::path& path) { return !path.empty() && !path.has_filename(); }

bool is_folder(const fs::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

Result<UniqueFd> open_folder(const fs::path& folder) {
  const std::string shown = in_quotes(folder.native());
  UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno == ENOENT) {
    return fail(Errc::system, "output folder " + shown + " is missing", "mkdir it first");
  }
  if (!fd) return fail_sys(Errc::system, errno, "open output folder " + shown);
  if (::faccessat(fd.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
    return fail_sys(Errc::system, errno, "write to output folder " + shown,
                    errno == EROFS ? "" : "may this user write there?");
  }
  return fd;
}

/// Why an image may not be called this, or nothing.
std::string_view fault_of(std::string_view name) {
  const auto is_control = [](char letter) {
    const auto byte = static_cast<unsigned char>(letter);
    return byte < 0x20 || byte == 0x7f;
  };
  if (name.empty()) return "an image needs a name";
  if (name == "." || name == "..") return "the name is a folder's";
  if (name.find('/') != name.npos) return "the name leads out of the output folder";
  if (std::ranges::any_of(name, is_control)) return "the name has control characters";
  return {};
}

/// Memory that reads as zeros, and counts against what the machine has.
Result<std::span<std::byte>> map_landing(const LayoutRegion& region) {
  if (region.length == 0) return std::span<std::byte>();
  void* const at =
      ::mmap(nullptr, region.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) {
    return fail_sys(Errc::system, errno,
                    "map " + std::to_string(region.length) + " bytes for the pages of image " +
                        in_quotes(region.name) + ", which are placed in memory first",
                    "a transport that streams (tcp://, tls://) needs no memory for it");
  }
  return std::span(static_cast<std::byte*>(at), region.length);
}

enum class Units { data, zeros };

/// Where the units from `from` on end to be of this kind.
std::uint64_t end_of(Units kind, std::span<const std::byte> memory, std::uint64_t from) {
  std::uint64_t at = from;
  while (at < memory.size()) {
    const std::uint64_t length = std::min<std::uint64_t>(k_unit_bytes, memory.size() - at);
    if (is_zero(memory.subspan(at, length)) != (kind == Units::zeros)) break;
    at += length;
  }
  return at;
}

/// Writes memory to the beginning of a file that is one hole; what is zeros stays one. What was
/// written is given back, so that an image need not be in memory twice.
Result<void> write_down(std::span<std::byte> memory, const OutputFile& output,
                        const std::stop_token& stop) {
  constexpr std::uint64_t k_most_at_once = 1024 * 1024;
  const MemoryRegion file{.length = memory.size(), .backing = Backing::file, .fd = output.fd()};
  for (std::uint64_t at = 0; at < memory.size();) {
    if (stop.stop_requested()) return fail(Errc::cancelled, "write images down: cancelled");
    const auto window = memory.subspan(at, std::min(k_most_at_once, memory.size() - at));
    for (std::uint64_t begin = 0; begin < window.size();) {
      begin = end_of(Units::zeros, window, begin);
      const std::uint64_t end = end_of(Units::data, window, begin);
      FERRY_TRY(store(file, at + begin, window.subspan(begin, end - begin)));
      begin = end;
    }
    (void)::madvise(window.data(), window.size(), MADV_DONTNEED);
    at += window.size();
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<ImageDestination>> ImageDestination::create(Options options) {
  if (options.path.empty()) return fail(Errc::system, "create output: its path is empty");
  const bool into_folder = ends_in_slash(options.path) || is_folder(options.path);
  fs::path folder = into_folder ? options.path : options.path.parent_path();
  if (folder.empty()) folder = ".";
  UniqueFd opened = FERRY_TRY(open_folder(folder));
  std::unique_ptr<ImageDestination> made(new ImageDestination(
      std::move(options), into_folder ? Shape::folder : Shape::file, std::move(opened)));
  if (!into_folder) FERRY_TRY(made->check_free(made->options_.path.filename().native()));
  return made;
}

Result<GuestMemory> ImageDestination::map_memory(const Layout& wanted) {
  FERRY_TRY(judge(wanted));
  names_.clear();
  outputs_.clear();
  outputs_.reserve(wanted.regions.size());
  std::vector<MemoryRegion> regions;
  for (const LayoutRegion& region : wanted.regions) {
    const std::string name = name_for(region);
    FERRY_TRY(check_free(name));
    OutputFile output =
        FERRY_TRY(OutputFile::create(folder_.get(), name, shown_as(name).native(), region.length));
    regions.push_back({.id = static_cast<RegionId>(regions.size()),
                       .name = region.name,
                       .guest_address = region.guest_address,
                       .page_size = region.page_size,
                       .length = region.length,
                       .backing = Backing::file,
                       .fd = output.fd(),
                       .path = shown_as(name).native()});
    names_.push_back(name);
    outputs_.push_back(std::move(output));
  }
  return GuestMemory::create(std::move(regions));
}

Result<GuestMemory> ImageDestination::map_placed_memory(const Layout& wanted) {
  const GuestMemory files = FERRY_TRY(map_memory(wanted));
  std::vector<MemoryRegion> regions(files.regions().begin(), files.regions().end());
  unmap();
  for (MemoryRegion& region : regions) {
    const auto landing = FERRY_TRY(map_landing(wanted.regions[region.id]));
    landings_.push_back(landing);
    region.host = landing.data();
    region.backing = Backing::anonymous;
    region.fd = -1;
  }
  return GuestMemory::create(std::move(regions));
}

ImageDestination::~ImageDestination() { unmap(); }

void ImageDestination::unmap() noexcept {
  for (const std::span<std::byte> landing : landings_) {
    if (!landing.empty()) ::munmap(landing.data(), landing.size());
  }
  landings_.clear();
}

Result<void> ImageDestination::prepare() {
  for (std::size_t i = 0; i < landings_.size(); ++i) {
    FERRY_TRY(write_down(landings_[i], outputs_[i], options_.stop));
  }
  for (OutputFile& output : outputs_) FERRY_TRY(output.sync());
  // start() finds this out for certain; here the sender still hears of it before it gives the guest
  // up.
  for (const std::string& name : names_) FERRY_TRY(check_free(name));
  return {};
}

Result<void> ImageDestination::start(const OwnerToken&) {
  FERRY_TRY(show_all());
  if (::fsync(folder_.get()) != 0) {
    const int sys = errno;
    take_back(outputs_.size());
    return fail_sys(Errc::system, sys,
                    "write output folder of " + in_quotes(options_.path.native()) + " to disk");
  }
  for (OutputFile& output : outputs_) output.settle();
  return {};
}

Result<void> ImageDestination::judge(const Layout& wanted) const {
  const std::string into = in_quotes(options_.path.native());
  if (wanted.regions.empty())
    return fail(Errc::refused, "receive into " + into + ": no images came");
  if (shape_ == Shape::file) {
    if (wanted.regions.size() == 1) return {};
    return fail(
        Errc::refused,
        "receive " + std::to_string(wanted.regions.size()) + " images into the one file " + into,
        "give migrate-recv a folder: -o DIR");
  }
  std::set<std::string_view> seen;
  for (const LayoutRegion& region : wanted.regions) {
    const std::string_view fault = fault_of(region.name);
    if (!fault.empty()) {
      return fail(Errc::refused,
                  "receive image " + in_quotes(region.name) + ": " + std::string(fault));
    }
    if (!seen.insert(region.name).second) {
      return fail(Errc::refused,
                  "receive image " + in_quotes(region.name) + ": the name comes twice");
    }
  }
  return {};
}

std::string ImageDestination::name_for(const LayoutRegion& region) const {
  return shape_ == Shape::folder ? region.name : options_.path.filename().native();
}

fs::path ImageDestination::shown_as(const std::string& name) const {
  return shape_ == Shape::folder ? options_.path / name : options_.path;
}

Result<void> ImageDestination::check_free(const std::string& name) const {
  const std::string act = "create " + in_quotes(shown_as(name).native());
  struct stat status {};
  if (::fstatat(folder_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return fail_sys(Errc::system, errno, act);
  }
  if (options_.existing == Existing::keep) {
    return fail(Errc::system, act + ": it exists already", "give --force to replace it");
  }
  // A rename would put a file where a device was; nobody means that.
  if (!S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode)) {
    return fail(Errc::system, act + ": what has that name is no regular file");
  }
  return {};
}

Result<void> ImageDestination::show_all() {
  // Whatever may fail for want of room or rights fails before the first image has its name.
  if (outputs_.size() > 1 || options_.existing == Existing::replace) {
    for (OutputFile& output : outputs_) FERRY_TRY(output.stage());
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    Result<void> shown = outputs_[i].show(options_.existing);
    if (shown) continue;
    take_back(i);
    return shown;
  }
  return {};
}

/// The first `shown` outputs lose their names, and what they replaced has them again.
void ImageDestination::take_back(std::size_t shown) noexcept {
  while (shown > 0) outputs_[--shown].take_back();
}

}  // namespace ferry
