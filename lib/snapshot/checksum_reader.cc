#include "snapshot/checksum_reader.h"

#include <algorithm>
#include <cassert>

#include "wire/image_format.h"

namespace ferry {

PageRun ChecksumReader::in_one_block(PageRun run) noexcept {
  run.length = std::min(run.length, wire::k_bytes_a_block - run.offset % wire::k_bytes_a_block);
  return run;
}

Result<std::span<const std::uint64_t>> ChecksumReader::of(const PageRun& run) {
  assert(in_one_block(run) == run);
  const std::uint64_t unit = run.offset / k_unit_bytes;
  const ChecksumBlock wanted{run.region, unit / wire::k_checksums_a_block};
  if (!loaded_ || last_ != wanted) {
    loaded_ = false;
    last_ = wanted;
    block_ = FERRY_TRY(reader_.checksums(wanted));
    loaded_ = true;
  }
  return std::span<const std::uint64_t>(block_).subspan(unit % wire::k_checksums_a_block,
                                                        run.length / k_unit_bytes);
}

}  // namespace ferry
