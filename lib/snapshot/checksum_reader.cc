#include "snapshot/checksum_reader.h"

#include <algorithm>

#include "wire/image_format.h"

namespace ferry {

Result<std::span<const std::uint64_t>> ChecksumReader::of(const PageRun& run) {
  asked_.clear();
  const std::uint64_t end = (run.offset + run.length) / k_unit_bytes;
  for (std::uint64_t unit = run.offset / k_unit_bytes; unit < end;) {
    const ChecksumBlock wanted{run.region, unit / wire::k_checksums_a_block};
    if (!loaded_ || last_ != wanted) {
      loaded_ = false;
      last_ = wanted;
      block_ = FERRY_TRY(reader_.checksums(wanted));
      loaded_ = true;
    }
    const std::uint64_t first = unit % wire::k_checksums_a_block;
    const auto found = std::span(block_).subspan(first);
    const auto these = found.first(std::min(end - unit, found.size()));
    asked_.insert(asked_.end(), these.begin(), these.end());
    unit += these.size();
  }
  return std::span<const std::uint64_t>(asked_);
}

}  // namespace ferry
