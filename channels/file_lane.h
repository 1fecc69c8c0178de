// Pages to their place in a file and back, over one engine, or on into other files.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "channels/file_engine.h"
#include "channels/file_staging.h"
#include "ferry/channel.h"

namespace ferry {

/// A lane of a file; or of several, so that what is read of one is written to another while the
/// next is read. What an engine moved only in part, or was interrupted in, goes on here, so that an
/// engine is a page of code.
class FileLane final : public PlacedIo {
 public:
  /// The file that a region is in. Descriptors are borrowed.
  struct File {
    int fd = -1;           ///< what pages are moved by
    std::string shown_as;  ///< what errors call it
    /// A descriptor by which pages go through the page cache, or -1. Where it is `fd`, the kernel
    /// is told by the MiB to begin to write what was put to the disk, so that a later fsync finds
    /// little to do. Where it is another, it takes what the file system refuses to take by `fd`
    /// (EINVAL).
    int cached = -1;
    /// Where `cached` is `fd`: space is set aside for a long run as a whole before it is put.
    bool reserve = false;
  };
  struct Region {
    File file;
    std::uint64_t offset = 0;  ///< where it begins in the file, in bytes
  };
  struct Setting {
    std::vector<Region> regions;
    unsigned depth = 1;
  };
  /// Makes the engine, and gets the lane's staging memory to register.
  using MakeEngine =
      std::function<Result<std::unique_ptr<FileEngine>>(std::span<std::byte> staging)>;

  static Result<std::unique_ptr<FileLane>> create(Setting setting, const MakeEngine& make_engine);
  ~FileLane() override;

  Result<void> attach(const GuestMemory&) override { return {}; }
  std::size_t staging_bytes() const noexcept override { return FileStaging::k_piece_bytes; }
  std::size_t staged_bytes() const noexcept override { return FileStaging::k_staged_bytes; }
  Result<std::span<std::byte>> staging(std::size_t bytes) override;
  Result<void> put(const PageRun& run, std::span<const std::byte> from) override;
  Result<void> get(const PageRun& run, std::span<std::byte> into) override;
  Result<void> settle() override;
  unsigned under_way() const noexcept override { return static_cast<unsigned>(moves_.size()); }
  unsigned depth() const noexcept override { return setting_.depth; }
  Result<void> flush() override;

 private:
  /// A run on its way; its number is the place in moves_, counted from the first of all.
  struct Move {
    const File* file = nullptr;
    std::uint64_t begin = 0;  // of all of it, in the file
    FileRequest rest;
    bool ended = false;
    unsigned fruitless = 0;  // attempts, since some of it moved
    std::optional<Error> error;
  };

  /// A stretch of a file that was put through the page cache, holes in it included, and that the
  /// kernel is not told of yet.
  struct Cached {
    int fd = -1;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };

  FileLane(Setting setting, FileStaging staging)
      : setting_(std::move(setting)), staging_(std::move(staging)) {}
  Result<void> begin(FileRequest::Direction direction, const PageRun& run,
                     std::span<std::byte> bytes);
  Result<void> await_one();
  Result<void> go_on(Move& move, std::int64_t result);
  Result<void> submit_again(Move& move);
  static void reserve(const FileRequest& request);
  void note_cached(const Move& move);
  void begin_writing();
  static Error failed(const Move& move, int sys);
  Result<void> keep_failure(Result<void> done);

  const Setting setting_;
  FileStaging staging_;
  std::unique_ptr<FileEngine> engine_;
  std::deque<Move> moves_;
  std::uint64_t settled_ = 0;  // moves so far
  std::optional<Error> failure_;
  Cached cached_;
};

}  // namespace ferry
