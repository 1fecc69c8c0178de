// A guest's snapshot, opened: any page of it, verified.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "ferry/guest.h"
#include "ferry/memory.h"
#include "ferry/place.h"
#include "ferry/result.h"

namespace [[gnu::visibility("default")]] ferry {

class Runtime;
class [[gnu::visibility("hidden")]] SnapshotReader;

/// State that a snapshot has beside memory.
struct SnapshotSection {
  std::string name;
  std::uint32_t version = 0;
  std::uint64_t length = 0;  ///< in bytes
};

/// What a snapshot says of itself.
struct SnapshotInfo {
  std::array<std::byte, 16> id{};  ///< random; another for each snapshot
  unsigned version = 0;            ///< of the format
  std::uint64_t file_bytes = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t present_bytes = 0;  ///< in units that are not all zeros
  std::vector<SnapshotSection> sections;
};

/// One finding of a check.
struct Damage {
  std::string what;  ///< for people: "region 'ram', offset 0x2000: ..."
};

/// What a check did.
struct SnapshotCheck {
  std::uint64_t bytes_read = 0;
  std::uint64_t damaged = 0;    ///< findings; 0: every byte is as it was written
  std::vector<Damage> damages;  ///< the first k_most_damages of them
  static constexpr std::size_t k_most_damages = 100;
};

/// A snapshot that is there whole: pages can be taken from it one by one, as a guest needs them. It
/// outlives neither its Runtime nor any call. All of it is thread-safe.
class Snapshot {
 public:
  /// Reads what it says of itself, and which pages there are, and verifies that. Errc::integrity
  /// where it is damaged, cut short or no snapshot; Errc::usage where `uri` is of a transport that
  /// has none.
  static Result<std::unique_ptr<Snapshot>> open(Runtime& runtime, std::string_view uri);
  ~Snapshot();

  const Layout& layout() const noexcept;
  const SnapshotInfo& info() const noexcept;
  /// Which units there are; the others are zeros.
  const PageBitmap& present() const noexcept;

  /// The bytes of a run, verified: `into` has its length. Errc::integrity names the region and the
  /// offset of what is damaged; Errc::usage: there is no such run.
  Result<void> fetch(const PageRun& run, std::span<std::byte> into) const;
  /// The bytes of a section, verified, by its number in info().
  Result<std::vector<std::byte>> section(std::size_t index) const;

  /// Reads all of it over `lanes` lanes, and a thread for what is no page, and lists what is
  /// damaged. `progress` may be empty; it hears how many of the present bytes were read, from the
  /// lanes, one call at a time; it must not block. An error is what kept it from its end.
  Result<SnapshotCheck> check(unsigned lanes, std::stop_token stop,
                              std::function<void(std::uint64_t)> progress = {}) const;

 private:
  explicit Snapshot(std::unique_ptr<SnapshotReader> reader);
  std::unique_ptr<SnapshotReader> reader_;
};

}  // namespace ferry
