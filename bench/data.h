// Memory and images to measure with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ferry/place.h"
#include "ferry/result.h"

namespace ferry::bench {

inline constexpr std::uint64_t k_mib = std::uint64_t{1} << 20;
inline constexpr std::uint64_t k_gib = std::uint64_t{1} << 30;

/// Fills `memory`, which lies `offset` bytes into the data, with bytes that look random and are the
/// same every time. The offset is a multiple of 8.
void fill_random(std::span<std::byte> memory, std::uint64_t offset);
/// Errc::integrity unless `memory` is what fill_random(memory, 0) makes.
Result<void> expect_random(std::span<const std::byte> memory);

/// A mapping of a process's own, or of a file; unmapped when it goes.
class Mapping {
 public:
  /// Anonymous, zero, and with every page there already.
  static Result<Mapping> populated(std::uint64_t bytes);
  /// Anonymous, and not touched yet.
  static Result<Mapping> fresh(std::uint64_t bytes);
  /// `fd`, shared, for reading; not touched yet.
  static Result<Mapping> of_file(int fd, std::uint64_t bytes);

  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&&) = delete;
  ~Mapping();

  std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  explicit Mapping(std::span<std::byte> bytes) : bytes_(bytes) {}
  std::span<std::byte> bytes_;
};

/// A file that is gone when this goes.
class ScratchFile {
 public:
  explicit ScratchFile(std::string path) : path_(std::move(path)) {}
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  ~ScratchFile();
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

/// Images, made at `path`: random bytes; zeros that are written down; a hole of `bytes` with
/// `data_bytes` of random data spread over it in pieces of 64 KiB.
Result<void> make_random_image(const std::string& path, std::uint64_t bytes);
Result<void> make_zero_image(const std::string& path, std::uint64_t bytes);
Result<void> make_sparse_image(const std::string& path, std::uint64_t bytes,
                               std::uint64_t data_bytes);

/// Nothing of a file is left to be written to its disk: nobody else's run pays for it.
Result<void> settle(const std::string& path);
/// What is read of a file next comes from its disk.
Result<void> forget(const std::string& path);

/// What of a file is data, from its beginning to its end.
Result<std::vector<Stretch>> data_in(const std::string& path);

/// Errc::integrity unless `path` is a file of so many bytes that fill_random makes.
Result<void> expect_random_image(const std::string& path, std::uint64_t bytes);
/// Errc::integrity unless the two files have the same length and the same bytes. Only what is data
/// in either is read.
Result<void> expect_same_image(const std::string& path, const std::string& original);

}  // namespace ferry::bench
