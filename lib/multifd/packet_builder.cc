#include "multifd/packet_builder.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "memory/region_io.h"
#include "memory/zero_page.h"
#include "wire/limits.h"

namespace ferry {
namespace {

static_assert(PacketBuilder::k_most_bytes <= wire::k_max_payload_bytes);
static_assert(PacketBuilder::k_most_bytes / k_unit_bytes <= wire::k_max_runs);

using Clock = std::chrono::steady_clock;

/// Calls `deal_with(number, offset, length)` for each unit of so many bytes.
template <class F>
void for_each_unit(std::uint64_t bytes, F deal_with) {
  std::size_t number = 0;
  for (std::uint64_t at = 0; at < bytes; at += k_unit_bytes) {
    deal_with(number++, at, std::min(k_unit_bytes, bytes - at));
  }
}

bool follows(const PageRun& before, const PageRun& after) noexcept {
  return before.region == after.region && before.offset + before.length == after.offset;
}

}  // namespace

PacketBuilder::PacketBuilder()
    : own_staging_(std::make_unique_for_overwrite<std::byte[]>(k_most_bytes)),
      staging_(own_staging_.get(), k_most_bytes) {
  header_.runs.reserve(wire::k_max_runs);
  header_.checksums.reserve(k_most_bytes / k_unit_bytes);
}

bool PacketBuilder::room_for_runs(std::size_t more) const noexcept {
  return more <= wire::k_max_runs - header_.runs.size();
}

bool PacketBuilder::full() const noexcept {
  const std::size_t used = std::max<std::size_t>(staged_, header_.payload_bytes);
  return zero_bytes_ >= k_most_zero_bytes || used > room_ - k_piece_bytes ||
         staged_ > staging_.size() - k_piece_bytes || !room_for_runs(k_piece_bytes / k_unit_bytes);
}

/// Where they lie, or in the staging buffer.
Result<std::span<const std::byte>> PacketBuilder::bytes_of(const MemoryRegion& region,
                                                           const PageRun& piece) {
  if (!stages(region)) return view(region, piece, {});
  const std::span<std::byte> staging = staging_.subspan(staged_, piece.length);
  const std::span<const std::byte> bytes = FERRY_TRY(view(region, piece, staging));
  if (bytes.data() != staging.data()) std::ranges::copy(bytes, staging.begin());
  return staging;
}

Result<std::uint64_t> PacketBuilder::add(const MemoryRegion& region, const PageRun& run) {
  if (full()) return std::uint64_t{0};
  const auto begin = Clock::now();
  PageRun piece = run;
  piece.length = std::min<std::uint64_t>(run.length, k_piece_bytes);
  const bool staged = stages(region);
  const std::span<const std::byte> bytes = FERRY_TRY(bytes_of(region, piece));

  // First the scan of the whole piece and then its checksums, so that the clock need not be asked
  // for each unit: a piece fits into a core's cache, and the scan of a unit with data in it ends
  // where the data begin.
  const auto scanned_from = Clock::now();
  if (staged) spent_.read += scanned_from - begin;
  std::array<bool, k_piece_bytes / k_unit_bytes> zero;
  for_each_unit(piece.length, [&](std::size_t i, std::uint64_t at, std::uint64_t length) {
    zero[i] = is_zero(bytes.subspan(at, length));
  });
  const auto checked_from = Clock::now();
  spent_.scan += checked_from - scanned_from;
  for_each_unit(piece.length, [&](std::size_t i, std::uint64_t at, std::uint64_t length) {
    const PageRun unit{piece.region, piece.offset + at, length};
    const auto content = bytes.subspan(at, length);
    if (zero[i]) return append_zeros(unit);
    append_unit(unit, content);
    if (staged) {
      staged_ = static_cast<std::size_t>(content.data() + length - staging_.data());
      copied_mapped_ |= region.host != nullptr;
    } else {
      in_place_ = true;
    }
  });
  spent_.checksum += Clock::now() - checked_from;
  return piece.length;
}

bool PacketBuilder::add_zeros(const PageRun& run) {
  if (!room_for_runs(1)) return false;
  append_zeros(run);
  return true;
}

void PacketBuilder::append_zeros(const PageRun& run) {
  zero_bytes_ += run.length;
  if (!header_.runs.empty()) {
    wire::WireRun& last = header_.runs.back();
    if (last.kind == wire::RunKind::zero && follows(last.run, run)) {
      last.run.length += run.length;
      return;
    }
  }
  header_.runs.push_back({.run = run, .kind = wire::RunKind::zero});
}

void PacketBuilder::append_unit(const PageRun& unit, std::span<const std::byte> bytes) {
  header_.checksums.push_back(wire::unit_checksum(bytes));
  const auto length = static_cast<std::uint32_t>(bytes.size());
  header_.payload_bytes += length;
  header_.raw_bytes += length;

  // Only read through: an iovec knows no const.
  auto* const begin = const_cast<std::byte*>(bytes.data());
  if (!header_.runs.empty() && !payload_.empty()) {
    wire::WireRun& last = header_.runs.back();
    iovec& piece = payload_.back();
    const bool adjacent = static_cast<std::byte*>(piece.iov_base) + piece.iov_len == begin;
    if (last.kind == wire::RunKind::raw && follows(last.run, unit) && adjacent) {
      last.run.length += length;
      last.payload_bytes += length;
      piece.iov_len += length;
      return;
    }
  }
  header_.runs.push_back({.run = unit, .kind = wire::RunKind::raw, .payload_bytes = length});
  payload_.push_back({begin, length});
}

void PacketBuilder::clear() noexcept {
  header_.runs.clear();
  header_.checksums.clear();
  header_.payload_bytes = 0;
  header_.raw_bytes = 0;
  payload_.clear();
  staging_ = {own_staging_.get(), k_most_bytes};
  staged_ = 0;
  in_place_ = false;
  copied_mapped_ = false;
  zero_bytes_ = 0;
  spent_ = {};
}

}  // namespace ferry
