#include "memory/region_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/escape.h"
#include "memory/extent_walker.h"
#include "memory/zero_page.h"

namespace ferry {
namespace {

constexpr std::size_t k_digest_piece = 256 * 1024;

std::unexpected<Error> failed(const char* act, const MemoryRegion& region, std::uint64_t offset,
                              int sys) {
  return fail_sys(Errc::system, sys,
                  fmt::format("{} {} at offset {:#x}", act, in_quotes(shown_as(region)), offset),
                  sys == ENOSPC || sys == EDQUOT ? "is the disk full?" : "");
}

std::array<std::byte, 8> little_endian(std::uint64_t value) {
  std::array<std::byte, 8> bytes;
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(value & 0xff);
    value >>= 8;
  }
  return bytes;
}

Result<void> write_zeros(const MemoryRegion& region, const PageRun& run) {
  static constexpr std::array<std::byte, 64 * 1024> zeros{};
  for (std::uint64_t done = 0; done < run.length;) {
    const auto step = std::min<std::uint64_t>(run.length - done, zeros.size());
    FERRY_TRY(store(region, run.offset + done, std::span(zeros).first(step)));
    done += step;
  }
  return {};
}

}  // namespace

const std::string& shown_as(const MemoryRegion& region) {
  return region.path.empty() ? region.name : region.path;
}

Result<std::span<const std::byte>> view(const MemoryRegion& region, const PageRun& run,
                                        std::span<std::byte> staging) {
  if (region.host != nullptr)
    return std::span<const std::byte>(region.host + run.offset, run.length);
  const std::span<std::byte> into = staging.first(run.length);
  for (std::size_t done = 0; done < into.size();) {
    const auto at = static_cast<off_t>(region.fd_offset + run.offset + done);
    const ssize_t n = ::pread(region.fd, into.data() + done, into.size() - done, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("read", region, run.offset + done, errno);
    if (n == 0) {
      return fail(Errc::system,
                  fmt::format("read {} at offset {:#x}: the file became shorter",
                              in_quotes(shown_as(region)), run.offset + done),
                  "is something else writing to it?");
    }
    done += static_cast<std::size_t>(n);
  }
  return into;
}

void read_ahead(const MemoryRegion& region, const PageRun& run) noexcept {
  // Of what is asked for at once the kernel leaves out what is more than its device takes at once.
  constexpr std::uint64_t k_at_once = 256 * 1024;
  if (region.host != nullptr) return;
  for (std::uint64_t done = 0; done < run.length; done += k_at_once) {
    (void)::posix_fadvise(region.fd, static_cast<off_t>(region.fd_offset + run.offset + done),
                          static_cast<off_t>(std::min(k_at_once, run.length - done)),
                          POSIX_FADV_WILLNEED);
  }
}

Result<void> store(const MemoryRegion& region, std::uint64_t offset,
                   std::span<const std::byte> bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const auto at = static_cast<off_t>(region.fd_offset + offset + done);
    const ssize_t n = ::pwrite(region.fd, bytes.data() + done, bytes.size() - done, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("write", region, offset + done, errno);
    done += static_cast<std::size_t>(n);
  }
  return {};
}

Result<void> clear(const MemoryRegion& region, const PageRun& run) {
  if (region.host != nullptr) {
    std::memset(region.host + run.offset, 0, run.length);
    return {};
  }
  const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  if (::fallocate(region.fd, mode, static_cast<off_t>(region.fd_offset + run.offset),
                  static_cast<off_t>(run.length)) == 0) {
    return {};
  }
  return write_zeros(region, run);  // a file system that has no holes
}

void RegionDigest::add(std::uint64_t offset, std::span<const std::byte> bytes) {
  for (std::uint64_t at = 0; at < bytes.size(); at += k_unit_bytes) {
    const auto unit = bytes.subspan(at, std::min<std::uint64_t>(k_unit_bytes, bytes.size() - at));
    if (is_zero(unit)) continue;
    digest_.update(little_endian(offset + at));
    digest_.update(unit);
  }
}

Result<std::array<std::byte, 16>> digest_of(const MemoryRegion& region, std::stop_token stop) {
  RegionDigest digest;
  std::vector<std::byte> staging(region.host == nullptr ? k_digest_piece : 0);
  ExtentWalker extents(region);
  while (const auto extent = FERRY_TRY(extents.next())) {
    if (extent->hole) continue;
    for (PageRun rest = extent->run; rest.length > 0;) {
      if (stop.stop_requested())
        return fail(Errc::cancelled, "digest of " + in_quotes(shown_as(region)));
      PageRun piece = rest;
      piece.length = std::min<std::uint64_t>(rest.length, k_digest_piece);
      const auto bytes = FERRY_TRY(view(region, piece, staging));
      digest.add(piece.offset, bytes);
      rest.offset += piece.length;
      rest.length -= piece.length;
    }
  }
  return digest.value();
}

}  // namespace ferry
