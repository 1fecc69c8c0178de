#include "snapshot/clone_source.h"

namespace ferry {
namespace {

// To share a run costs as much as to write so many bytes, whatever its length.
constexpr std::uint64_t k_least_bytes = 64 * 1024;

}  // namespace

CloneSource::CloneSource(SnapshotWriter& writer, const GuestMemory& memory)
    : writer_(writer), memory_(memory) {
  for (const MemoryRegion& region : memory_.regions()) {
    Image& image = images_.emplace_back();
    // What is mapped may be a private mapping, whose pages are not the file's any more.
    const bool is_the_file = region.backing == Backing::file && region.host == nullptr;
    if (is_the_file && region.fd >= 0 && region.length > 0) {
      image.lease = ReadLease::take(region.fd);
    }
    image.over = !image.lease;
    if (image.lease) ++left_;
  }
}

bool CloneSource::share(const PageRun& run) {
  if (left_.load(std::memory_order_relaxed) == 0) return false;
  // Asked first, of every image, also for a run that is too short: who waits for a lease waits for
  // us to look.
  for (Image& each : images_) look_at(each);
  Image& image = images_[run.region];
  if (image.over.load(std::memory_order_relaxed) || run.length < k_least_bytes) return false;
  const MemoryRegion& region = memory_.regions()[run.region];
  // Still held behind it: nobody has written between the reading and the sharing.
  if (writer_.clone(run, image.lease->fd(), region.fd_offset + run.offset) && image.lease->held()) {
    return true;
  }
  end(image);
  return false;
}

/// Lets whoever waits for the image have it.
void CloneSource::look_at(Image& image) {
  if (!image.over.load(std::memory_order_relaxed) && !image.lease->held()) end(image);
}

/// By the first lane that finds it over.
void CloneSource::end(Image& image) {
  if (image.over.exchange(true, std::memory_order_relaxed)) return;
  image.lease->give_back();
  left_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace ferry
