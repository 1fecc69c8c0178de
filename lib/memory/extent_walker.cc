#include "memory/extent_walker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace ferry {
namespace {

constexpr std::uint64_t unit_floor(std::uint64_t offset) noexcept {
  return offset - offset % k_unit_bytes;
}

// So much is asked about at once, whether all of it is resident: the least first, and twice as much
// while it is. Between many holes the least costs next to nothing.
constexpr std::uint64_t k_least_probe_bytes = 64 * 1024;
constexpr std::uint64_t k_most_probe_bytes = 16 * 1024 * 1024;

/// Is what is resident data? Of shared memory: the page cache of a file on a disk also keeps holes
/// that somebody has read. And where this process might write to the file: of others' files
/// mincore(2) calls every page resident (Linux 5.2), holes and all.
bool residency_tells(const MemoryRegion& region) noexcept {
  return region.backing == Backing::shmem && region.host != nullptr && region.fd >= 0 &&
         ::faccessat(region.fd, "", W_OK, AT_EMPTY_PATH | AT_EACCESS) == 0;
}

}  // namespace

ExtentWalker::ExtentWalker(const MemoryRegion& region) noexcept
    : ExtentWalker(region, {region.id, 0, region.length}) {}

ExtentWalker::ExtentWalker(const MemoryRegion& region, const PageRun& part) noexcept
    : region_(region.id),
      length_(part.offset + part.length),
      fd_(region.fd),
      fd_offset_(region.fd_offset),
      host_(residency_tells(region) ? region.host : nullptr),
      probe_bytes_(k_least_probe_bytes),
      at_(part.offset) {}

Result<std::optional<Extent>> ExtentWalker::next() {
  if (at_ >= length_) return std::nullopt;
  const std::uint64_t begin = at_;
  const bool before_a_hole = data_ && *data_ > begin;
  if (const std::uint64_t length = before_a_hole ? 0 : resident_bytes(begin); length > 0) {
    at_ += length;
    data_.reset();
    return Extent{{region_, begin, length}, false};
  }
  if (!data_) data_ = FERRY_TRY(next_data(begin));
  const bool hole = *data_ > begin;
  at_ = hole ? *data_ : FERRY_TRY(next_hole(begin));
  return Extent{{region_, begin, at_ - begin}, hole};
}

/// Where the next data or hole at or after `from` begins, as an offset in the region: nothing where
/// there is none before the region's end. A descriptor that knows no holes is forgotten.
Result<std::optional<std::uint64_t>> ExtentWalker::seek(Seek what, std::uint64_t from) {
  const std::uint64_t asked = fd_offset_ + from;
  const off_t found =
      ::lseek(fd_, static_cast<off_t>(asked), what == Seek::data ? SEEK_DATA : SEEK_HOLE);
  if (found < 0 && errno == ENXIO) {
    // Nothing but a hole up to the file's end; also what a file says that was cut short.
    FERRY_TRY(check_file_length());
    return std::nullopt;
  }
  const bool knows_no_holes = found < 0 && (errno == EINVAL || errno == ESPIPE);
  // Some character devices answer any lseek(2) with the offset that they had.
  if (knows_no_holes || (found >= 0 && static_cast<std::uint64_t>(found) < asked)) {
    fd_ = -1;
    return what == Seek::data ? std::optional(from) : std::nullopt;
  }
  if (found < 0) {
    return fail_sys(Errc::system, errno,
                    fmt::format("find the holes of memory region {}", region_));
  }
  const std::uint64_t offset = static_cast<std::uint64_t>(found) - fd_offset_;
  return offset < length_ ? std::optional(offset) : std::nullopt;
}

/// The first unit at or after `from` that has data, or the region's end.
Result<std::uint64_t> ExtentWalker::next_data(std::uint64_t from) {
  if (fd_ < 0) return from;
  const std::optional<std::uint64_t> data = FERRY_TRY(seek(Seek::data, from));
  return data ? unit_floor(*data) : length_;
}

/// The first unit after the one at `from` that is a hole in whole, or the region's end. Knows
/// afterwards where the data behind it begins.
Result<std::uint64_t> ExtentWalker::next_hole(std::uint64_t from) {
  if (length_ - from <= k_unit_bytes) return length_;
  // At least one unit on, also when somebody punches the hole between two questions.
  from += k_unit_bytes;
  while (fd_ >= 0) {
    const std::optional<std::uint64_t> hole = FERRY_TRY(seek(Seek::hole, from));
    if (!hole || fd_ < 0) break;
    const std::uint64_t begin = units_in(*hole) * k_unit_bytes;
    if (begin >= length_) break;
    data_ = FERRY_TRY(next_data(begin));
    if (*data_ > begin) return begin;
    from = begin + k_unit_bytes;  // filled before a unit was over
    if (from >= length_) break;
  }
  return length_;
}

/// So many from there on are data for certain; 0 says nothing.
std::uint64_t ExtentWalker::resident_bytes(std::uint64_t from) {
  if (host_ == nullptr) return 0;
  static const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t length = std::min(probe_bytes_, length_ - from);
  std::array<unsigned char, k_most_probe_bytes / k_unit_bytes> pages;
  const auto asked = std::span(pages).first((length + page_bytes - 1) / page_bytes);
  if (::mincore(host_ + from, length, asked.data()) != 0) return 0;
  const auto missing =
      std::ranges::find_if(asked, [](unsigned char page) { return (page & 1) == 0; });
  const auto there = static_cast<std::uint64_t>(missing - asked.begin());
  const std::uint64_t resident = std::min(length, there * page_bytes);
  probe_bytes_ =
      resident == length ? std::min(2 * probe_bytes_, k_most_probe_bytes) : k_least_probe_bytes;
  return resident;
}

Result<void> ExtentWalker::check_file_length() const {
  struct stat file {};
  if (::fstat(fd_, &file) != 0) {
    return fail_sys(Errc::system, errno,
                    fmt::format("look at the file of memory region {}", region_));
  }
  if (!S_ISREG(file.st_mode)) return {};
  const auto size = static_cast<std::uint64_t>(file.st_size);
  if (size < fd_offset_ || size - fd_offset_ < length_) {
    return fail(Errc::system,
                fmt::format("memory region {}: its file became shorter than its {} bytes", region_,
                            length_),
                "does something else write to it?");
  }
  return {};
}

}  // namespace ferry
