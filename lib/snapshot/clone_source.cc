#include "snapshot/clone_source.h"

namespace ferry {
namespace {

// To share a run costs as much as to write so many bytes, whatever its length.
constexpr std::uint64_t k_least_bytes = 64 * 1024;

}  // namespace

CloneSource::CloneSource(SnapshotWriter& writer, const GuestMemory& memory)
    : writer_(writer), memory_(memory) {
  for (const MemoryRegion& region : memory_.regions()) {
    // What is mapped may be a private mapping, whose pages are not the file's any more.
    const bool is_the_file = region.backing == Backing::file && region.host == nullptr;
    leases_.push_back(is_the_file && region.fd >= 0 && region.length > 0
                          ? ReadLease::take(region.fd)
                          : std::nullopt);
  }
}

bool CloneSource::share(const PageRun& run) const {
  // Asked first, of every image, also for a run that is too short: who waits for a lease waits for
  // us to look.
  for (const std::optional<ReadLease>& each : leases_) {
    if (each && !each->held()) each->give_back();
  }
  const std::optional<ReadLease>& lease = leases_[run.region];
  if (!lease) return false;
  const MemoryRegion& region = memory_.regions()[run.region];
  const bool at_rest = lease->held();
  if (at_rest && run.length < k_least_bytes) return false;
  // Still held behind it: nobody has written between the reading and the sharing.
  if (at_rest && writer_.clone(run, lease->fd(), region.fd_offset + run.offset) && lease->held()) {
    return true;
  }
  lease->give_back();
  return false;
}

}  // namespace ferry
