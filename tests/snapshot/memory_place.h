// A place in memory, whose every byte a test can read and change.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "ferry/place.h"

namespace ferry::test {

/// The bytes of a place, and what becomes of it. Shared by the place and the test.
struct MemoryFile {
  std::vector<std::byte> bytes;
  bool full = false;  ///< puts fail
  bool kept = false;
  bool shown = false;
  std::function<bool(Stretch)> on_read;  ///< can this one be read? Empty: all can. Any thread
  /// Makes what was read another than what is there. Any thread.
  std::function<void(Stretch, std::span<std::byte>)> on_have_read;
  std::function<bool(Stretch)> on_clone;  ///< may this one be shared? Empty: none may
  std::atomic<std::uint64_t> cloned_bytes = 0;
  std::atomic<int> clone_fd = -1;  ///< of the last file that one was asked of
};

/// Puts and gets are done at once. It knows no holes.
class MemoryPlace final : public NewPlace {
 public:
  explicit MemoryPlace(std::shared_ptr<MemoryFile> file) : file_(std::move(file)) {}

  std::uint64_t length() const noexcept override { return file_->bytes.size(); }
  Result<void> read(std::uint64_t at, std::span<std::byte> into) const override;
  Result<std::optional<Stretch>> next_data(std::uint64_t from) const override;
  Result<std::unique_ptr<PlacedIo>> lane(std::vector<std::uint64_t> region_offsets,
                                         std::span<const MemoryRegion>) override;
  Result<void> write(std::uint64_t at, std::span<const std::byte> from) override;
  Result<void> clear(Stretch stretch) override;
  /// Copies, where on_clone allows it.
  bool clone(Stretch stretch, int fd, std::uint64_t from) override;
  Result<void> judge_put() const;
  Result<void> keep() override;
  Result<void> show() override;

 private:
  std::shared_ptr<MemoryFile> file_;
};

/// Every place that it makes or opens is the same file.
class MemoryPlaces final : public Places {
 public:
  Result<std::unique_ptr<NewPlace>> create(const Uri& at, std::uint64_t length) override;
  Result<std::unique_ptr<Place>> open(const Uri& at) override;
  MemoryFile& file() noexcept { return *file_; }

 private:
  std::shared_ptr<MemoryFile> file_ = std::make_shared<MemoryFile>();
};

}  // namespace ferry::test
