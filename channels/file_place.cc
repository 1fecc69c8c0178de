#include "channels/file_place.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <map>
#include <string>
#include <utility>

#include "base/escape.h"
#include "base/output_file.h"
#include "channels/file_lane.h"
#include "ferry/unique_fd.h"
#include "memory/region_io.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;

/// A regular file or nothing may be there; the name of a folder is none of a file.
Result<void> check_name(const fs::path& path) {
  const std::string shown = in_quotes(path.native());
  if (!path.has_filename()) {
    return fail(Errc::usage, "file " + shown + ": it is the name of a directory",
                "name the file in it");
  }
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode)) return {};
  if (S_ISDIR(status.st_mode)) {
    return fail(Errc::usage, "file " + shown + ": is a directory", "name the file in it");
  }
  return fail(Errc::usage,
              "file " + shown +
                  ": a pipe, a socket or a device is no place for a "
                  "snapshot",
              "name a regular file");
}

/// Some file systems refuse only what is not aligned as they want it, and only when it is written.
bool takes_units(int direct_fd) {
  alignas(k_unit_bytes) static constexpr std::array<std::byte, k_unit_bytes> zeros{};
  return ::pwrite(direct_fd, zeros.data(), zeros.size(), 0) == static_cast<::ssize_t>(zeros.size());
}

/// Of a file to read: the same.
bool gives_units(int direct_fd) {
  alignas(k_unit_bytes) std::array<std::byte, k_unit_bytes> unit;
  return ::pread(direct_fd, unit.data(), unit.size(), 0) >= 0;
}

/// Is most of the file in the page cache, as far as a few of its units tell?
bool is_cached(int fd) {
  constexpr ::off_t k_samples = 16;
  struct stat status {};
  if (::fstat(fd, &status) != 0) return false;
  int cached = 0;
  for (::off_t i = 0; i < k_samples; ++i) {
    std::byte byte;
    const iovec into{&byte, 1};
    cached += ::preadv2(fd, &into, 1, status.st_size / k_samples * i, RWF_NOWAIT) == 1;
  }
  return cached > k_samples / 2;
}

/// By a megabyte and more: as much as lanes take at a time.
bool far_ahead(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return false;
  std::ifstream setting(fmt::format("/sys/class/bdi/{}:{}/read_ahead_kb", major(status.st_dev),
                                    minor(status.st_dev)));
  std::uint64_t kibibytes = 0;
  return setting >> kibibytes && kibibytes >= 1024;
}

/// ext4 sets space aside for every block that is written to its cache, and asks what the block is
/// before; for those that have their space already it only asks.
bool reserves_by_the_block(int fd) {
  struct statfs status {};
  return ::fstatfs(fd, &status) == 0 && status.f_type == EXT4_SUPER_MAGIC;
}

Result<UniqueFd> open_directly(int fd, const fs::path& path, int mode) {
  const std::string same = "/proc/self/fd/" + std::to_string(fd);
  UniqueFd direct(::open(same.c_str(), mode | O_DIRECT | O_CLOEXEC));
  if (direct) return direct;
  if (errno == EINVAL) {
    return fail(Errc::unsupported,
                "open " + in_quotes(path.native()) +
                    " past the page cache: its file system "
                    "cannot do that",
                "leave --direct out");
  }
  return fail_sys(Errc::system, errno, "open " + in_quotes(path.native()) + " past the page cache");
}

/// What both kinds of place do with their file.
class PlacedFile {
 public:
  PlacedFile(const fs::path& path, const FileOptions& options)
      : path_(path), options_(options), region_{.name = {}, .path = path.native()} {}

  /// `fd` is the owner's. A file to write is new: nothing is in its first unit yet.
  Result<void> open(int fd, int mode) {
    region_.fd = fd;
    if (options_.caching == Caching::direct) direct_ = FERRY_TRY(open_directly(fd, path_, mode));
    if (options_.caching == Caching::automatic) {
      auto direct = open_directly(fd, path_, mode);
      const bool better = direct && (mode == O_RDWR ? takes_units(direct->get())
                                                    : !is_cached(fd) && gives_units(direct->get()));
      if (better) direct_ = *std::move(direct);
    }
    return {};
  }

  Result<void> read(std::uint64_t at, std::span<std::byte> into) const {
    FERRY_TRY(view(region_, {0, at, into.size()}, into));
    return {};
  }
  Result<void> write(std::uint64_t at, std::span<const std::byte> from) const {
    return store(region_, at, from);
  }
  Result<void> clear(Stretch stretch) const {
    return ferry::clear(region_, {0, stretch.offset, stretch.length});
  }

  Result<std::optional<Stretch>> next_data(std::uint64_t from, std::uint64_t length) const {
    if (from >= length) return std::nullopt;
    const off_t data = ::lseek(region_.fd, static_cast<off_t>(from), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return std::nullopt;
    if (data < 0 && errno == EINVAL) return Stretch{from, length - from};  // it knows no holes
    const off_t hole = data < 0 ? -1 : ::lseek(region_.fd, data, SEEK_HOLE);
    if (hole < 0) {
      return fail_sys(Errc::system, errno, "find the holes of " + in_quotes(path_.native()));
    }
    return Stretch{static_cast<std::uint64_t>(data), static_cast<std::uint64_t>(hole - data)};
  }

  bool reads_far_ahead() const { return !direct_ && far_ahead(region_.fd); }

  /// `mode` is what is done to what is outside.
  Result<std::unique_ptr<PlacedIo>> lane(const std::vector<std::uint64_t>& region_offsets,
                                         std::span<const MemoryRegion> outside, int mode) {
    const unsigned depth = std::clamp(options_.depth, 1u, 64u);
    const FileLane::File file{
        .fd = direct_ ? direct_.get() : region_.fd,
        .shown_as = path_.native(),
        .cached = direct_ ? -1 : region_.fd,
        .reserve = mode == O_RDONLY && !direct_ && reserves_by_the_block(region_.fd)};
    FileLane::Setting setting{.regions = {}, .depth = depth};
    for (const std::uint64_t offset : region_offsets) setting.regions.push_back({file, offset});
    for (const MemoryRegion& each : outside) {
      setting.regions.push_back({file_of(each, mode), each.fd_offset});
    }
    return FileLane::create(std::move(setting), [&](std::span<std::byte> staging) {
      return make_file_engine(options_.engine, direct_ ? Caching::direct : Caching::buffered,
                              {.depth = depth, .staging = staging});
    });
  }

 private:
  /// Past the page cache where that can be, whichever way the place's own pages go: an image is as
  /// large as a guest, and is read or written once.
  FileLane::File file_of(const MemoryRegion& outside, int mode) {
    int direct = -1;
    if (outside.host == nullptr && outside.backing == Backing::file &&
        outside.fd_offset % k_unit_bytes == 0) {
      direct = directly(outside, mode);
    }
    return {.fd = direct >= 0 ? direct : outside.fd,
            .shown_as = shown_as(outside),
            .cached = outside.fd,
            .reserve = mode == O_RDWR && direct < 0 && reserves_by_the_block(outside.fd)};
  }

  /// Once a file, for all lanes. Descriptors are scarce: so many, and all others through the cache.
  int directly(const MemoryRegion& outside, int mode) {
    constexpr std::size_t k_most = 64;
    const auto opened = outside_.find(outside.fd);
    if (opened != outside_.end()) return opened->second.get();
    if (outside_.size() == k_most) return -1;
    return outside_.emplace(outside.fd, open_outside(outside, mode)).first->second.get();
  }
  UniqueFd open_outside(const MemoryRegion& outside, int mode) const {
    const bool read = mode == O_RDONLY;
    if (read && is_cached(outside.fd)) return {};  // also if direct: it stays as it was
    auto direct = open_directly(outside.fd, shown_as(outside), mode);
    return direct && (!read || gives_units(direct->get())) ? *std::move(direct) : UniqueFd();
  }

  const fs::path path_;
  const FileOptions options_;
  MemoryRegion region_;  // the file as region_io.h takes it: all of it, by its descriptor
  UniqueFd direct_;      // none where all goes through the page cache
  std::map<int, UniqueFd> outside_;  // by whose descriptor; none where that cannot be
};

class OldFile final : public Place {
 public:
  OldFile(const fs::path& path, const FileOptions& options, UniqueFd fd, std::uint64_t length)
      : fd_(std::move(fd)), length_(length), file_(path, options) {}
  Result<void> open() { return file_.open(fd_.get(), O_RDONLY); }

  std::uint64_t length() const noexcept override { return length_; }
  Result<void> read(std::uint64_t at, std::span<std::byte> into) const override {
    return file_.read(at, into);
  }
  Result<std::optional<Stretch>> next_data(std::uint64_t from) const override {
    return file_.next_data(from, length_);
  }
  bool reads_far_ahead() const override { return file_.reads_far_ahead(); }
  Result<std::unique_ptr<PlacedIo>> lane(std::vector<std::uint64_t> region_offsets,
                                         std::span<const MemoryRegion> outside) override {
    return file_.lane(region_offsets, outside, O_RDWR);
  }

 private:
  const UniqueFd fd_;
  const std::uint64_t length_;
  PlacedFile file_;
};

class NewFile final : public NewPlace {
 public:
  NewFile(const fs::path& path, const FileOptions& options, UniqueFd folder, OutputFile output)
      : path_(path),
        options_(options),
        folder_(std::move(folder)),
        output_(std::move(output)),
        file_(path, options) {}
  Result<void> open() { return file_.open(output_.fd(), O_RDWR); }

  std::uint64_t length() const noexcept override {
    struct stat status {};
    return ::fstat(output_.fd(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
  }
  Result<void> read(std::uint64_t at, std::span<std::byte> into) const override {
    return file_.read(at, into);
  }
  Result<std::optional<Stretch>> next_data(std::uint64_t from) const override {
    return file_.next_data(from, length());
  }
  bool reads_far_ahead() const override { return file_.reads_far_ahead(); }
  Result<std::unique_ptr<PlacedIo>> lane(std::vector<std::uint64_t> region_offsets,
                                         std::span<const MemoryRegion> outside) override {
    return file_.lane(region_offsets, outside, O_RDONLY);
  }
  Result<void> write(std::uint64_t at, std::span<const std::byte> from) override {
    return file_.write(at, from);
  }
  Result<void> clear(Stretch stretch) override { return file_.clear(stretch); }

  bool clone(Stretch stretch, int fd, std::uint64_t from) override {
    const file_clone_range range{fd, from, stretch.length, stretch.offset};
    return ::ioctl(output_.fd(), FICLONERANGE, &range) == 0;
  }

  Result<void> keep() override {
    FERRY_TRY(output_.sync());
    FERRY_TRY(check_free());
    return output_.stage();  // what show() has left to do is one rename
  }

  Result<void> show() override {
    FERRY_TRY(output_.show(options_.existing));
    if (::fsync(folder_.get()) != 0) {
      const int sys = errno;
      output_.take_back();
      return fail_sys(Errc::system, sys,
                      "write the directory of " + in_quotes(path_.native()) + " to disk");
    }
    output_.settle();
    return {};
  }

  Result<void> check_free() const {
    struct stat status {};
    if (options_.existing == Existing::replace ||
        ::fstatat(folder_.get(), path_.filename().c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return {};
    }
    return fail(Errc::system, "create " + in_quotes(path_.native()) + ": it exists already",
                "give --force to replace it");
  }

 private:
  const fs::path path_;
  const FileOptions options_;
  const UniqueFd folder_;
  OutputFile output_;
  PlacedFile file_;
};

}  // namespace

Result<std::unique_ptr<NewPlace>> create_file_place(const fs::path& path, std::uint64_t length,
                                                    const FileOptions& options) {
  FERRY_TRY(check_name(path));
  const fs::path in = path.parent_path();
  UniqueFd folder(::open(in.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) {
    return fail_sys(Errc::system, errno, "open directory " + in_quotes(in.native()),
                    errno == ENOENT ? "mkdir it first" : "");
  }
  OutputFile output =
      FERRY_TRY(OutputFile::create(folder.get(), path.filename(), path.native(), length));
  auto place = std::make_unique<NewFile>(path, options, std::move(folder), std::move(output));
  FERRY_TRY(place->check_free());
  FERRY_TRY(place->open());
  return place;
}

Result<std::unique_ptr<Place>> open_file_place(const fs::path& path, const FileOptions& options) {
  FERRY_TRY(check_name(path));
  // Not to wait for a writer, should it be a pipe by now; and to wait from then on, which by
  // io_uring some kernels do not of a file that says so.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0 || ::fcntl(fd.get(), F_SETFL, 0) != 0) {
    return fail_sys(Errc::system, errno, "open snapshot " + in_quotes(path.native()),
                    errno == ENOENT ? "is the path right?" : "");
  }
  if (!S_ISREG(status.st_mode)) FERRY_TRY(check_name(path));
  auto place = std::make_unique<OldFile>(path, options, std::move(fd),
                                         static_cast<std::uint64_t>(status.st_size));
  FERRY_TRY(place->open());
  return place;
}

}  // namespace ferry
