#include "bench/data.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "ferry/unique_fd.h"

namespace ferry::bench {
namespace {

constexpr std::uint64_t k_stretch = k_mib;

/// The 64 random bits with number n (splitmix64): any stretch can be made without the one before.
std::uint64_t random_word(std::uint64_t n) {
  std::uint64_t z = (n + 1) * 0x9e3779b97f4a7c15U;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

Result<UniqueFd> open_file(const std::string& path, int flags) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, 0644));
  if (!fd) return fail_sys(Errc::system, errno, fmt::format("open {}", path));
  return fd;
}

Result<UniqueFd> create_file(const std::string& path, std::uint64_t bytes) {
  UniqueFd fd = FERRY_TRY(open_file(path, O_RDWR | O_CREAT | O_TRUNC));
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return fail_sys(Errc::system, errno, fmt::format("make {} {} bytes long", path, bytes));
  }
  return fd;
}

Result<void> write_at(int fd, std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0) return fail_sys(Errc::system, errno, "write an image");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

/// Calls `piece(offset, length)` for all of `bytes`, in order, until one fails.
Result<void> in_pieces(std::uint64_t bytes,
                       const std::function<Result<void>(std::uint64_t, std::uint64_t)>& piece) {
  for (std::uint64_t offset = 0; offset < bytes; offset += k_stretch) {
    FERRY_TRY(piece(offset, std::min(k_stretch, bytes - offset)));
  }
  return {};
}

Result<Mapping> map(std::uint64_t bytes, int protection, int flags, int fd,
                    Mapping (*made)(std::span<std::byte>)) {
  void* address = ::mmap(nullptr, bytes, protection, flags, fd, 0);
  if (address == MAP_FAILED) {
    return fail_sys(Errc::system, errno, fmt::format("map {} bytes", bytes));
  }
  return made({static_cast<std::byte*>(address), bytes});
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

/// What of a file is data.
std::vector<Stretch> data_of(int fd) {
  std::vector<Stretch> result;
  off_t end = 0;
  for (;;) {
    const off_t begin = ::lseek(fd, end, SEEK_DATA);
    if (begin < 0) return result;
    end = ::lseek(fd, begin, SEEK_HOLE);
    result.push_back({static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end - begin)});
  }
}

Result<std::uint64_t> length_of(int fd, const std::string& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail_sys(Errc::system, errno, fmt::format("stat {}", path));
  return static_cast<std::uint64_t>(status.st_size);
}

}  // namespace

void fill_random(std::span<std::byte> memory, std::uint64_t offset) {
  std::uint64_t number = offset / 8;
  while (memory.size() >= 8) {
    const std::uint64_t word = random_word(number++);
    std::memcpy(memory.data(), &word, 8);
    memory = memory.subspan(8);
  }
  const std::uint64_t last = random_word(number);
  std::memcpy(memory.data(), &last, memory.size());
}

Result<void> expect_random(std::span<const std::byte> memory) {
  std::vector<std::byte> expected(k_stretch);
  return in_pieces(memory.size(), [&](std::uint64_t offset, std::uint64_t length) -> Result<void> {
    const std::span piece = std::span(expected).first(length);
    fill_random(piece, offset);
    if (same(piece, memory.subspan(offset, length))) return {};
    return fail(Errc::integrity,
                fmt::format("compare: what arrived differs behind byte {}", offset));
  });
}

Result<Mapping> Mapping::populated(std::uint64_t bytes) {
  return map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1,
             [](std::span<std::byte> all) { return Mapping(all); });
}

Result<Mapping> Mapping::fresh(std::uint64_t bytes) {
  return map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
             [](std::span<std::byte> all) { return Mapping(all); });
}

Result<Mapping> Mapping::of_file(int fd, std::uint64_t bytes) {
  return map(bytes, PROT_READ, MAP_SHARED, fd,
             [](std::span<std::byte> all) { return Mapping(all); });
}

Mapping::Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

Mapping::~Mapping() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

ScratchFile::~ScratchFile() { ::unlink(path_.c_str()); }

Result<void> make_random_image(const std::string& path, std::uint64_t bytes) {
  const UniqueFd fd = FERRY_TRY(create_file(path, bytes));
  std::vector<std::byte> buffer(k_stretch);
  return in_pieces(bytes, [&](std::uint64_t offset, std::uint64_t length) {
    const std::span piece = std::span(buffer).first(length);
    fill_random(piece, offset);
    return write_at(fd.get(), piece, offset);
  });
}

Result<void> make_zero_image(const std::string& path, std::uint64_t bytes) {
  const UniqueFd fd = FERRY_TRY(create_file(path, bytes));
  const std::vector<std::byte> zeros(k_stretch);
  return in_pieces(bytes, [&](std::uint64_t offset, std::uint64_t length) {
    return write_at(fd.get(), std::span(zeros).first(length), offset);
  });
}

Result<void> make_sparse_image(const std::string& path, std::uint64_t bytes,
                               std::uint64_t data_bytes) {
  constexpr std::uint64_t k_island = 64 * 1024;
  const UniqueFd fd = FERRY_TRY(create_file(path, bytes));
  const std::uint64_t islands = data_bytes / k_island;
  const std::uint64_t stride = bytes / islands / k_island * k_island;
  std::vector<std::byte> island(k_island);
  for (std::uint64_t i = 0; i < islands; ++i) {
    fill_random(island, i * stride);
    FERRY_TRY(write_at(fd.get(), island, i * stride));
  }
  return {};
}

Result<void> settle(const std::string& path) {
  const UniqueFd file = FERRY_TRY(open_file(path, O_RDONLY));
  if (::fsync(file.get()) != 0) return fail_sys(Errc::system, errno, "sync " + path);
  return {};
}

Result<void> forget(const std::string& path) {
  FERRY_TRY(settle(path));
  const UniqueFd file = FERRY_TRY(open_file(path, O_RDONLY));
  (void)::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  return {};
}

Result<std::vector<Stretch>> data_in(const std::string& path) {
  const UniqueFd fd = FERRY_TRY(open_file(path, O_RDONLY));
  return data_of(fd.get());
}

Result<void> expect_random_image(const std::string& path, std::uint64_t bytes) {
  const UniqueFd fd = FERRY_TRY(open_file(path, O_RDONLY));
  const std::uint64_t length = FERRY_TRY(length_of(fd.get(), path));
  if (length != bytes) {
    return fail(Errc::integrity, fmt::format("compare {}: {} bytes, not {}", path, length, bytes));
  }
  const Mapping mapping = FERRY_TRY(Mapping::of_file(fd.get(), bytes));
  return expect_random(mapping.bytes());
}

Result<void> expect_same_image(const std::string& path, const std::string& original) {
  const UniqueFd fd = FERRY_TRY(open_file(path, O_RDONLY));
  const UniqueFd original_fd = FERRY_TRY(open_file(original, O_RDONLY));
  const std::uint64_t bytes = FERRY_TRY(length_of(original_fd.get(), original));
  if (FERRY_TRY(length_of(fd.get(), path)) != bytes) {
    return fail(Errc::integrity, fmt::format("compare {}: not {} bytes long", path, bytes));
  }
  const Mapping mine = FERRY_TRY(Mapping::of_file(fd.get(), bytes));
  const Mapping theirs = FERRY_TRY(Mapping::of_file(original_fd.get(), bytes));
  for (const int data : {fd.get(), original_fd.get()}) {
    for (const Stretch& stretch : data_of(data)) {
      if (!same(mine.bytes().subspan(stretch.offset, stretch.length),
                theirs.bytes().subspan(stretch.offset, stretch.length))) {
        return fail(Errc::integrity,
                    fmt::format("compare {}: differs behind byte {}", path, stretch.offset));
      }
    }
  }
  return {};
}

}  // namespace ferry::bench
