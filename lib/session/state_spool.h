// Device state between its arrival and its loading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "ferry/device_state.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// Keeps the sections of a peer until all memory is here: devices read memory while they load. The
/// first 16 MiB stay in memory, the rest goes to a nameless file. Every count and length is the
/// peer's word, and is judged here (Errc::protocol, Errc::integrity).
///
/// A section is begun and ended in its turn; its pieces come behind its beginning, in their order,
/// or by put(), whenever and in whatever order they like. What is missing shows at close().
///
/// Filled by several threads, put() being thread-safe, also beside the others; then read by one
/// that hears from all of them that they are done.
class StateSpool final : public StateSink, public StateOrigin {
 public:
  static constexpr std::size_t k_in_memory = 16 * 1024 * 1024;

  /// `most`: bytes of all sections together; a peer that sends more is refused.
  StateSpool(std::uint64_t most, std::string folder);

  Result<void> begin_section(std::string_view name, std::uint32_t version) override;
  Result<void> append(std::span<const std::byte> piece) override;
  Result<void> end_section(std::uint64_t length, std::uint64_t checksum) override;
  /// The piece at this offset of this section, sections being numbered from 0 in their order.
  Result<void> put(std::uint32_t section, std::uint64_t offset, std::span<const std::byte> piece);
  /// Nothing more comes: every section is ended and whole, and from now on all of the above fail.
  Result<void> close();

  /// Thread-safe.
  std::size_t sections() const;
  std::uint64_t bytes() const;

  /// After close(). From the first section on.
  Result<std::optional<StateSection>> next_section() override;
  Result<std::span<const std::byte>> next_piece() override;

 private:
  struct Kept {
    StateSection section;        // of this length, as its end says
    std::uint64_t appended = 0;  // bytes that came in their order
    std::uint64_t checksum = 0;  // chain over its pieces, as its end says
    bool open = true;
  };
  struct Piece {
    std::uint64_t at = 0;  // of its first byte, in memory_ or the file
    std::size_t length = 0;
    std::uint64_t checksum = 0;
  };
  /// With all that came before it.
  static bool in_memory(const Piece& piece) noexcept {
    return piece.at < k_in_memory && piece.length <= k_in_memory - piece.at;
  }
  using Place = std::pair<std::size_t, std::uint64_t>;  // a section's number, an offset in it

  bool receiving() const noexcept { return !sections_.empty() && sections_.back().open; }
  std::string about(std::size_t section) const;
  std::unexpected<Error> refuse(std::size_t section, std::string_view why) const;
  Result<void> keep(const Place& place, std::span<const std::byte> piece);
  Result<Piece> admit(const Place& place, std::span<const std::byte> piece);
  Result<void> write(std::span<const std::byte> piece, std::uint64_t at) const;
  Result<void> open_file();
  Result<void> check(std::size_t section) const;

  const std::uint64_t most_;
  const std::string folder_;

  mutable std::mutex mutex_;  // guards the rest, while it is filled
  std::vector<Kept> sections_;
  std::unordered_set<std::string> names_;
  std::map<Place, Piece> pieces_;
  std::unordered_set<std::size_t> short_;  // sections that have their last piece, which is short
  std::uint64_t bytes_ = 0;
  bool closed_ = false;
  std::vector<std::byte> memory_;  // the first bytes; once there is a file it grows no more
  UniqueFd file_;                  // bytes lie in it at the offset that they would have in memory

  std::size_t next_ = 0;          // the section that next_section() gives
  std::uint64_t read_ = 0;        // bytes of the one before it that were given
  std::vector<std::byte> piece_;  // what next_piece() gave, where it was in the file
};

}  // namespace ferry
