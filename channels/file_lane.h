// Pages to their place in a file and back, over one engine.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channels/file_engine.h"
#include "ferry/channel.h"

namespace ferry {

/// A lane of a file. What an engine moved only in part, or was interrupted in, goes on here, so
/// that an engine is a page of code.
class FileLane final : public PlacedIo {
 public:
  struct Setting {
    std::vector<std::uint64_t> region_offsets;  ///< in the file
    unsigned depth = 1;
    std::string shown_as;  ///< what errors call the file
    /// A descriptor of the file, borrowed, where pages go through the page cache. The kernel is
    /// then told at once to begin to write what is put to the disk, so that a later fsync finds
    /// little to do; and to begin to read what is to be got, since lanes that take turns in a file
    /// look to it as if they read in no order. -1: there is no such need.
    int cached = -1;
  };
  /// Makes the engine, and gets the lane's staging memory to register.
  using MakeEngine =
      std::function<Result<std::unique_ptr<FileEngine>>(std::span<std::byte> staging)>;

  static Result<std::unique_ptr<FileLane>> create(Setting setting, const MakeEngine& make_engine);
  ~FileLane() override;

  Result<void> attach(const GuestMemory&) override { return {}; }
  Result<std::span<std::byte>> staging() override;
  Result<void> put(const PageRun& run, std::span<const std::byte> from) override;
  Result<void> get(const PageRun& run, std::span<std::byte> into) override;
  Result<void> settle() override;
  unsigned under_way() const noexcept override { return static_cast<unsigned>(moves_.size()); }
  unsigned depth() const noexcept override { return setting_.depth; }
  Result<void> flush() override;

 private:
  /// A run on its way; its number is the place in moves_, counted from the first of all.
  struct Move {
    std::uint64_t begin = 0;  // of all of it, in the file
    FileRequest rest;
    bool ended = false;
    std::optional<Error> error;
  };
  struct FreeBytes {
    void operator()(std::byte* bytes) const noexcept;
  };

  FileLane(Setting setting, std::byte* staging);
  std::span<std::byte> all_staging() const noexcept;
  Result<void> begin(FileRequest::Direction direction, const PageRun& run,
                     std::span<std::byte> bytes);
  Result<void> await_one();
  Result<void> go_on(Move& move, std::int64_t result);
  Result<void> submit_again(Move& move);
  Error failed(const FileRequest& request, int sys) const;
  Result<void> keep_failure(Result<void> done);

  const Setting setting_;
  const std::unique_ptr<std::byte, FreeBytes> staging_;
  std::unique_ptr<FileEngine> engine_;
  std::deque<Move> moves_;
  std::uint64_t settled_ = 0;              // moves so far
  unsigned buffer_ = 0;                    // that staging() gave last
  std::vector<std::uint64_t> used_until_;  // of each buffer: free when so many are settled
  std::optional<Error> failure_;
};

}  // namespace ferry
