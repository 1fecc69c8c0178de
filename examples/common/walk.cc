#include "common/walk.h"

#include <atomic>
#include <random>

namespace example {
namespace {

/// Ferry reads a page while it is written here: each word goes in one piece.
void put(std::uint64_t* word, std::uint64_t value) noexcept {
  std::atomic_ref(*word).store(value, std::memory_order_relaxed);
}

bool is_of_pass(const Ram& ram, std::uint64_t address, std::uint64_t pass) noexcept {
  return *ram.word(address) == pass && *ram.word(address + k_last_word) == pass * address;
}

}  // namespace

Slice slice_of(std::uint64_t begin, std::uint64_t end, unsigned worker, unsigned workers) noexcept {
  const std::uint64_t pages = (end - begin) / ferry::k_unit_bytes;
  const auto cut = [&](std::uint64_t k) {
    return begin + pages * k / workers * ferry::k_unit_bytes;
  };
  return {cut(worker), cut(worker + 1)};
}

std::uint64_t step(const Ram& ram, Walk& walk, std::uint64_t pages) noexcept {
  std::uint64_t wrong = 0;
  for (; pages > 0; --pages) {
    if (!is_of_pass(ram, walk.next, walk.pass - 1)) ++wrong;
    put(ram.word(walk.next), walk.pass);
    put(ram.word(walk.next + k_last_word), walk.pass * walk.next);
    walk.next += ferry::k_unit_bytes;
    if (walk.next < walk.slice.end) continue;
    walk.next = walk.slice.begin;
    ++walk.pass;
  }
  return wrong;
}

std::uint64_t count_wrong(const Ram& ram, const Walk& walk) noexcept {
  std::uint64_t wrong = 0;
  for (std::uint64_t at = walk.slice.begin; at < walk.slice.end; at += ferry::k_unit_bytes) {
    if (!is_of_pass(ram, at, at < walk.next ? walk.pass : walk.pass - 1)) ++wrong;
  }
  return wrong;
}

void fill_with_noise(const Ram& ram, const Slice& slice) noexcept {
  std::mt19937_64 noise(slice.begin);
  for (std::uint64_t at = slice.begin; at < slice.end; at += ferry::k_unit_bytes) {
    for (std::uint64_t word = 8; word < k_last_word; word += 8) *ram.word(at + word) = noise();
  }
}

}  // namespace example
