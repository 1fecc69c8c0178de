#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>

#include "base/bit_words.h"
#include "ferry/memory.h"

namespace ferry {
namespace {

constexpr std::uint64_t k_ones = ~std::uint64_t{0};

/// Ones for the bits of word `word` that lie in [first, end).
constexpr std::uint64_t mask_of(std::uint64_t word, std::uint64_t first,
                                std::uint64_t end) noexcept {
  const std::uint64_t begin = word * k_word_bits;
  std::uint64_t mask = k_ones;
  if (first > begin) mask &= k_ones << (first - begin);
  if (end - begin < k_word_bits) mask &= k_ones >> (k_word_bits - (end - begin));
  return mask;
}

/// The units that a run covers: [first, end).
struct Units {
  std::uint64_t first;
  std::uint64_t end;
  explicit Units(const PageRun& run) noexcept
      : first(run.offset / k_unit_bytes), end(first + units_in(run.length)) {}
};

/// Calls apply(word, mask) for every word that has bits in [first, end).
template <class Words, class Apply>
void for_each_word(Words& words, Units units, Apply apply) noexcept {
  if (units.first == units.end) return;
  const std::uint64_t last = (units.end - 1) / k_word_bits;
  assert(last < words.size());
  for (std::uint64_t word = units.first / k_word_bits; word <= last; ++word) {
    apply(words[word], mask_of(word, units.first, units.end));
  }
}

/// The first bit at or after `from` and before `end` that is one (zero, with flip all ones), or
/// `end`.
std::uint64_t find_bit(const std::vector<std::uint64_t>& words, std::uint64_t from,
                       std::uint64_t end, std::uint64_t flip) noexcept {
  if (from >= end) return end;
  std::uint64_t word = from / k_word_bits;
  const std::uint64_t last = (end - 1) / k_word_bits;
  std::uint64_t bits = (words[word] ^ flip) & (k_ones << (from % k_word_bits));
  while (bits == 0) {
    if (word == last) return end;
    bits = words[++word] ^ flip;
  }
  return std::min(end, word * k_word_bits + static_cast<unsigned>(std::countr_zero(bits)));
}

}  // namespace

PageBitmap::PageBitmap(const Layout& layout) {
  regions_.reserve(layout.regions.size());
  for (const LayoutRegion& region : layout.regions) {
    regions_.push_back(
        {region.length, std::vector<std::uint64_t>(words_for(units_in(region.length)))});
  }
}

void PageBitmap::mark(const PageRun& run) noexcept {
  assert(run.region < regions_.size());
  for_each_word(regions_[run.region].words, Units(run),
                [](std::uint64_t& word, std::uint64_t mask) {
                  const std::atomic_ref bits(word);
                  // A whole word needs no read: whatever others mark in it meanwhile is in it, too.
                  if (mask == k_ones) {
                    bits.store(k_ones, std::memory_order_relaxed);
                  } else {
                    bits.fetch_or(mask, std::memory_order_relaxed);
                  }
                });
}

bool PageBitmap::test_and_mark(const PageRun& run) noexcept {
  assert(run.region < regions_.size());
  std::uint64_t before = 0;
  for_each_word(regions_[run.region].words, Units(run),
                [&before](std::uint64_t& word, std::uint64_t mask) {
                  before |= std::atomic_ref(word).fetch_or(mask, std::memory_order_relaxed) & mask;
                });
  return before != 0;
}

bool PageBitmap::test(RegionId region, std::uint64_t offset) const noexcept {
  assert(region < regions_.size() && offset < regions_[region].length);
  const std::uint64_t unit = offset / k_unit_bytes;
  // atomic_ref has no form for const objects yet; a load changes nothing.
  auto& word = const_cast<std::uint64_t&>(regions_[region].words[unit / k_word_bits]);
  return (std::atomic_ref(word).load(std::memory_order_relaxed) >> (unit % k_word_bits) & 1) != 0;
}

void PageBitmap::clear(const PageRun& run) noexcept {
  assert(run.region < regions_.size());
  for_each_word(regions_[run.region].words, Units(run),
                [](std::uint64_t& word, std::uint64_t mask) { word &= ~mask; });
}

void PageBitmap::clear_all() noexcept {
  for (Bits& bits : regions_) std::ranges::fill(bits.words, 0);
}

void PageBitmap::mark_all() noexcept {
  for (Bits& bits : regions_) {
    std::ranges::fill(bits.words, k_ones);
    // Bits past the last unit stay zero, so that words can be counted and compared whole.
    const std::uint64_t tail = units_in(bits.length) % k_word_bits;
    if (tail != 0) bits.words.back() = k_ones >> (k_word_bits - tail);
  }
}

bool PageBitmap::all() const noexcept {
  return std::ranges::all_of(regions_, [](const Bits& bits) {
    const std::uint64_t units = units_in(bits.length);
    return find_bit(bits.words, 0, units, k_ones) == units;
  });
}

bool PageBitmap::none() const noexcept {
  return std::ranges::all_of(regions_, [](const Bits& bits) {
    const std::uint64_t units = units_in(bits.length);
    return find_bit(bits.words, 0, units, 0) == units;
  });
}

std::uint64_t PageBitmap::count() const noexcept {
  std::uint64_t marked = 0;
  for (const Bits& bits : regions_) {
    for (const std::uint64_t word : bits.words)
      marked += static_cast<unsigned>(std::popcount(word));
  }
  return marked;
}

void PageBitmap::merge(const PageBitmap& other) noexcept {
  assert(other.regions_.size() == regions_.size());
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    assert(other.regions_[i].length == regions_[i].length);
    std::ranges::transform(regions_[i].words, other.regions_[i].words, regions_[i].words.begin(),
                           [](std::uint64_t mine, std::uint64_t theirs) { return mine | theirs; });
  }
}

std::optional<PageRun> PageBitmap::next_run(RegionId region, std::uint64_t from,
                                            std::uint64_t max_length) const noexcept {
  assert(region < regions_.size() && max_length >= k_unit_bytes && max_length % k_unit_bytes == 0);
  const Bits& bits = regions_[region];
  const std::uint64_t units = units_in(bits.length);
  const std::uint64_t first = find_bit(bits.words, units_in(from), units, 0);
  if (first == units) return std::nullopt;
  const std::uint64_t limit = first + std::min(units - first, max_length / k_unit_bytes);
  const std::uint64_t end = find_bit(bits.words, first, limit, k_ones);
  const std::uint64_t offset = first * k_unit_bytes;
  // The last unit may be partial; comparing what is left avoids an end beyond 64 bits.
  const std::uint64_t length = end == units ? bits.length - offset : (end - first) * k_unit_bytes;
  return PageRun{region, offset, length};
}

}  // namespace ferry
