#include "tiny-vmm/long_mode.h"

#include <cstring>

namespace example {
namespace {

constexpr std::uint64_t k_present = 1 << 0, k_writable = 1 << 1, k_user = 1 << 2;
constexpr std::uint64_t k_accessed = 1 << 5, k_dirty = 1 << 6, k_large = 1 << 7;
constexpr std::uint64_t k_table = k_present | k_writable | k_user | k_accessed;
constexpr std::uint64_t k_page = k_table | k_dirty | k_large;

constexpr std::uint64_t k_gib = std::uint64_t{1} << 30;
constexpr std::uint64_t k_large_page = std::uint64_t{2} << 20;

constexpr std::uint64_t k_pdpt = k_page_tables + 0x1000;  // page directory pointer table

void put(std::span<std::byte> memory, std::uint64_t table, std::uint64_t index,
         std::uint64_t entry) {
  std::memcpy(memory.data() + table + index * sizeof entry, &entry, sizeof entry);
}

constexpr kvm_segment segment(std::uint16_t selector, std::uint8_t type) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.dpl = 3;
  segment.s = 1;  // code or data
  segment.g = 1;
  return segment;
}

}  // namespace

void write_page_tables(std::span<std::byte> memory) {
  put(memory, k_page_tables, 0, k_pdpt | k_table);
  for (std::uint64_t address = 0; address < memory.size(); address += k_large_page) {
    const std::uint64_t gib = address / k_gib;
    const std::uint64_t directory = k_page_directories + gib * 0x1000;
    put(memory, k_pdpt, gib, directory | k_table);
    put(memory, directory, address % k_gib / k_large_page, address | k_page);
  }
}

kvm_sregs in_user_mode(kvm_sregs sregs) {
  sregs.cr3 = k_page_tables;
  sregs.cr0 = 0x80050033;  // paging, protection; an FPU whose errors are exceptions
  sregs.cr4 = 0x620;       // PAE; SSE and its exceptions
  sregs.efer = 0x500;      // long mode, enabled and active
  sregs.cs = segment(0x33, 0xb);
  sregs.cs.l = 1;
  sregs.ss = segment(0x2b, 0x3);
  sregs.ss.db = 1;
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss;
  sregs.tr.type = 0xb;  // a processor in long mode wants a 64-bit one, though nothing uses it
  sregs.tr.s = 0;
  sregs.tr.present = 1;
  return sregs;
}

}  // namespace example
