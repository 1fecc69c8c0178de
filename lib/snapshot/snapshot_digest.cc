#include "snapshot/snapshot_digest.h"

#include <algorithm>
#include <vector>

#include "memory/region_io.h"

namespace ferry {

Result<std::array<std::byte, 16>> digest_of(const SnapshotReader& reader, RegionId region,
                                            const std::stop_token& stop) {
  RegionDigest digest;
  std::vector<std::byte> bytes(PlacedIo::k_staging_bytes);
  std::uint64_t from = 0;
  while (const auto run = reader.present().next_run(region, from, bytes.size())) {
    if (stop.stop_requested()) return fail(Errc::cancelled, "cancelled");
    const auto piece = std::span(bytes).first(run->length);
    FERRY_TRY(reader.fetch(*run, piece));
    digest.add(run->offset, piece);
    from = run->offset + wire::padded(run->length);
  }
  return digest.value();
}

}  // namespace ferry
