// Device state between its arrival and its loading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "ferry/device_state.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// Keeps the sections of a peer until all memory is here: devices read memory while they load. The
/// first 16 MiB stay in memory, the rest goes to a nameless file. Every count and length is the
/// peer's word, and is judged here (Errc::protocol, Errc::integrity).
///
/// Filled by one thread, then read by another that hears of it from the first.
class StateSpool final : public StateSink, public StateOrigin {
 public:
  static constexpr std::size_t k_in_memory = 16 * 1024 * 1024;

  /// `most`: bytes of all sections together; a peer that sends more is refused.
  StateSpool(std::uint64_t most, std::string folder);

  Result<void> begin_section(std::string_view name, std::uint32_t version) override;
  Result<void> append(std::span<const std::byte> piece) override;
  Result<void> end_section(std::uint64_t length, std::uint64_t checksum) override;
  /// Nothing more comes: no section may be open, and from now on all of the above fail.
  Result<void> close();

  std::size_t sections() const noexcept { return sections_.size(); }
  std::uint64_t bytes() const noexcept { return bytes_; }

  /// After close(). From the first section on.
  Result<std::optional<StateSection>> next_section() override;
  Result<std::span<const std::byte>> next_piece() override;

 private:
  struct Kept {
    StateSection section;
    std::uint64_t at = 0;         // of its first byte, in memory_ and the file behind it
    std::size_t first_piece = 0;  // its place in checksums_
    std::uint64_t checksum = 0;   // chain over its pieces so far
    bool open = true;
  };
  bool receiving() const noexcept { return !sections_.empty() && sections_.back().open; }
  Result<void> keep(std::span<const std::byte> piece);
  Result<void> open_file();

  const std::uint64_t most_;
  const std::string folder_;
  std::vector<Kept> sections_;
  std::unordered_set<std::string> names_;
  std::vector<std::uint64_t> checksums_;  // of all pieces: 8 bytes for 256 KiB
  std::uint64_t bytes_ = 0;
  bool closed_ = false;
  std::vector<std::byte> memory_;  // the first bytes; once there is a file it grows no more
  UniqueFd file_;

  std::size_t next_ = 0;          // the section that next_section() gives
  std::uint64_t read_ = 0;        // bytes of the one before it that were given
  std::vector<std::byte> piece_;  // what next_piece() gave, where it was in the file
};

}  // namespace ferry
