// A guest's memory: a memfd, mapped.
#pragma once

#include <ferry/memory.h>
#include <ferry/unique_fd.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace example {

/// Memory that reads as zeros at first. It gives pages only as they are touched, and its holes are
/// known by its descriptor: memory that was never touched is not sent.
class Ram {
 public:
  static ferry::Result<Ram> create(std::uint64_t bytes);
  Ram(Ram&& other) noexcept;
  Ram& operator=(Ram&&) = delete;
  ~Ram();

  std::span<std::byte> bytes() const noexcept { return bytes_; }
  /// The 64-bit word at a guest address, which must be inside and aligned.
  std::uint64_t* word(std::uint64_t address) const noexcept;
  /// As Ferry wants to know it: one region "ram" at guest address 0. Borrows this.
  ferry::Result<ferry::GuestMemory> as_guest_memory() const;

  /// Takes all pages now, so that nobody waits for them later.
  ferry::Result<void> populate();

 private:
  Ram(ferry::UniqueFd fd, std::span<std::byte> bytes) : fd_(std::move(fd)), bytes_(bytes) {}
  ferry::UniqueFd fd_;
  std::span<std::byte> bytes_;
};

}  // namespace example
