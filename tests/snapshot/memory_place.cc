#include "tests/snapshot/memory_place.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "memory/region_io.h"

namespace ferry::test {
namespace {

class MemoryLane final : public PlacedIo {
 public:
  MemoryLane(MemoryPlace& place, std::vector<std::uint64_t> region_offsets,
             std::span<const MemoryRegion> outside)
      : place_(place),
        region_offsets_(std::move(region_offsets)),
        outside_(outside.begin(), outside.end()) {}

  Result<void> attach(const GuestMemory&) override { return {}; }
  Result<std::span<std::byte>> staging(std::size_t bytes) override {
    std::ranges::fill(staging_, std::byte{0xee});
    return std::span(staging_).first(bytes);
  }
  Result<void> put(const PageRun& run, std::span<const std::byte> from) override {
    FERRY_TRY(place_.judge_put());
    ++under_way_;
    return place_.write(region_offsets_[run.region] + run.offset, from);
  }
  Result<void> get(const PageRun& run, std::span<std::byte> into) override {
    ++under_way_;
    if (run.region >= region_offsets_.size()) {
      FERRY_TRY(view(outside_[run.region - region_offsets_.size()], run, into));
      return {};
    }
    return place_.read(region_offsets_[run.region] + run.offset, into);
  }
  Result<void> settle() override {
    --under_way_;
    return {};
  }
  unsigned under_way() const noexcept override { return under_way_; }
  unsigned depth() const noexcept override { return 1; }
  Result<void> flush() override {
    under_way_ = 0;
    return {};
  }

 private:
  MemoryPlace& place_;
  const std::vector<std::uint64_t> region_offsets_;
  const std::vector<MemoryRegion> outside_;
  std::vector<std::byte> staging_ = std::vector<std::byte>(k_staging_bytes);
  unsigned under_way_ = 0;
};

}  // namespace

Result<void> MemoryPlace::read(std::uint64_t at, std::span<std::byte> into) const {
  const auto& bytes = file_->bytes;
  if (at > bytes.size() || into.size() > bytes.size() - at) {
    return fail(Errc::system, "read memory: beyond its end");
  }
  if (file_->on_read && !file_->on_read({at, into.size()})) {
    return fail_sys(Errc::system, EIO, "read memory");
  }
  std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), into.size(), into.begin());
  if (file_->on_have_read) file_->on_have_read({at, into.size()}, into);
  return {};
}

Result<std::optional<Stretch>> MemoryPlace::next_data(std::uint64_t from) const {
  if (from >= length()) return std::nullopt;
  return Stretch{from, length() - from};
}

Result<std::unique_ptr<PlacedIo>> MemoryPlace::lane(std::vector<std::uint64_t> region_offsets,
                                                    std::span<const MemoryRegion> outside) {
  return std::make_unique<MemoryLane>(*this, std::move(region_offsets), outside);
}

Result<void> MemoryPlace::write(std::uint64_t at, std::span<const std::byte> from) {
  auto& bytes = file_->bytes;
  if (bytes.size() < at + from.size()) bytes.resize(at + from.size());
  std::ranges::copy(from, bytes.begin() + static_cast<std::ptrdiff_t>(at));
  return {};
}

Result<void> MemoryPlace::clear(Stretch stretch) {
  std::fill_n(file_->bytes.begin() + static_cast<std::ptrdiff_t>(stretch.offset), stretch.length,
              std::byte{0});
  return {};
}

bool MemoryPlace::clone(Stretch stretch, int fd, std::uint64_t from) {
  file_->clone_fd = fd;
  if (!file_->on_clone || !file_->on_clone(stretch)) return false;
  file_->cloned_bytes += stretch.length;
  return ::pread(fd, &file_->bytes[stretch.offset], stretch.length, static_cast<off_t>(from)) ==
         static_cast<ssize_t>(stretch.length);
}

Result<void> MemoryPlace::judge_put() const {
  if (!file_->full) return {};
  return fail_sys(Errc::system, ENOSPC, "write memory");
}

Result<void> MemoryPlace::keep() {
  file_->kept = true;
  return {};
}

Result<void> MemoryPlace::show() {
  file_->shown = true;
  return {};
}

Result<std::unique_ptr<NewPlace>> MemoryPlaces::create(const Uri&, std::uint64_t length) {
  file_->bytes.assign(length, std::byte{0});
  return std::make_unique<MemoryPlace>(file_);
}

Result<std::unique_ptr<Place>> MemoryPlaces::open(const Uri&) {
  return std::make_unique<MemoryPlace>(file_);
}

}  // namespace ferry::test
