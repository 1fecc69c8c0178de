#include "rdma/staging.h"

#include <cstdlib>
#include <utility>

namespace ferry {

void StagingRing::FreeBytes::operator()(std::byte* bytes) const noexcept { std::free(bytes); }

std::span<std::byte> StagingRing::all() const noexcept {
  return {memory_.get(), memory_ ? k_buffers * PlacedIo::k_staging_bytes : 0};
}

Result<std::span<std::byte>> StagingRing::next(PinningDomain& domain, const std::string& act) {
  if (!memory_) {
    auto* const bytes = static_cast<std::byte*>(
        std::aligned_alloc(k_unit_bytes, k_buffers * PlacedIo::k_staging_bytes));
    if (bytes == nullptr) return fail(Errc::system, act + ": out of memory");
    std::unique_ptr<std::byte, FreeBytes> memory(bytes);
    pin_ =
        FERRY_TRY(domain.pin({bytes, k_buffers * PlacedIo::k_staging_bytes}, DeviceMay::read, act));
    memory_ = std::move(memory);
  }
  current_ = (current_ + 1) % k_buffers;
  return all().subspan(current_ * PlacedIo::k_staging_bytes, PlacedIo::k_staging_bytes);
}

bool StagingRing::has(std::span<const std::byte> bytes) const noexcept {
  const auto ours = all();
  return !ours.empty() && bytes.data() >= ours.data() && bytes.data() < ours.data() + ours.size();
}

void StagingRing::use(std::span<const std::byte> bytes, std::uint64_t request) noexcept {
  const auto at = static_cast<std::size_t>(bytes.data() - memory_.get());
  used_until_[at / PlacedIo::k_staging_bytes] = request;
}

}  // namespace ferry
