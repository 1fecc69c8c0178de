// What a migration did, and where its time went.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace [[gnu::visibility("default")]] ferry {

/// How memory is proved beyond the checksum that every 4 KiB always carries.
enum class Verify {
  pages,  ///< checksums of everything on the way, and the transcript of both sides
  full,   ///< also a digest of all memory, taken at both ends when the guest is paused
};

/// What says that all of it arrived.
enum class Proof {
  transcript,     ///< both sides saw the same of every channel
  durable_image,  ///< it is on the disk, with a checksum for every 4 KiB
  verified_image  ///< it came from there, and every checksum was right
};

/// One round of a source.
struct RoundReport {
  std::uint32_t round = 0;
  bool guest_ran = true;         ///< false: it stood still
  std::uint64_t bytes = 0;       ///< of memory that were sent or told
  std::uint64_t pages = 0;       ///< of 4 KiB, of those bytes
  std::uint64_t wire_bytes = 0;  ///< on page channels, headers and resends included
  std::uint64_t suspect = 0;     ///< units that changed while they were sent
  std::chrono::nanoseconds time{};
  std::uint64_t bandwidth = 0;  ///< wire bytes per second, in this round
  /// Written by the guest while it went on; of a first round with a tracker that begins gradually,
  /// what was written behind it.
  std::uint64_t dirty_bytes = 0;
  /// The same, in bytes per second. Of a first round too low, as PrecopyStatus has it.
  std::uint64_t dirty_rate = 0;
};

/// What a source's downtime consisted of, in the order in which it happened. 0: it did not.
struct DowntimeReport {
  std::chrono::nanoseconds pause{};         ///< the guest's pause()
  std::chrono::nanoseconds memory{};        ///< harvest, and the round of what was still dirty
  std::chrono::nanoseconds state{};         ///< save_state(), as its pieces go; the last may follow
  std::chrono::nanoseconds state_memory{};  ///< what saving had made dirty, behind those pieces
  std::chrono::nanoseconds digests{};       ///< with Verify::full
  std::chrono::nanoseconds prepare{};  ///< the last of all that; the destination loads, is READY
  std::chrono::nanoseconds commit{};   ///< COMMIT, start() there, STARTED
};

/// Where the threads of page channels, or of a file's lanes, spent their time, in sum.
struct LaneTimes {
  std::chrono::nanoseconds read{};       ///< source: reading memory that only a descriptor reaches
  std::chrono::nanoseconds scan{};       ///< source: telling zeros from data
  std::chrono::nanoseconds checksum{};   ///< of every 4 KiB
  std::chrono::nanoseconds encrypt{};    ///< with TLS; a destination's: decrypting
  std::chrono::nanoseconds copy{};       ///< in the socket's calls, working
  std::chrono::nanoseconds socket{};     ///< blocked in the socket's calls
  std::chrono::nanoseconds receiver{};   ///< source: a round has gone, and is not acknowledged yet
  std::chrono::nanoseconds bandwidth{};  ///< source: held back by BandwidthLimit
  std::chrono::nanoseconds place{};      ///< destination: writing to memory or files
  std::chrono::nanoseconds idle{};       ///< without work: between rounds, before the first
  LaneTimes& operator+=(const LaneTimes& other) noexcept;
  std::chrono::nanoseconds total() const noexcept {
    return read + scan + checksum + encrypt + copy + socket + receiver + bandwidth + place + idle;
  }
};

inline LaneTimes& LaneTimes::operator+=(const LaneTimes& other) noexcept {
  read += other.read;
  scan += other.scan;
  checksum += other.checksum;
  encrypt += other.encrypt;
  copy += other.copy;
  socket += other.socket;
  receiver += other.receiver;
  bandwidth += other.bandwidth;
  place += other.place;
  idle += other.idle;
  return *this;
}

/// One page channel, or one lane of a file.
struct LaneReport {
  unsigned lane = 0;
  std::uint64_t wire_bytes = 0;
  std::uint64_t placed_bytes = 0;  ///< of them, put straight into the destination's memory
  std::uint64_t packets = 0;
  std::uint64_t resent = 0;               ///< units of 4 KiB
  std::uint64_t replacements = 0;         ///< how often another channel took the place of its one
  std::uint64_t zero_copy_fallbacks = 0;  ///< writes without copying that were copied after all
  LaneTimes times;
};

/// What a migration did.
struct Report {
  std::uint64_t bytes = 0;         ///< of memory that the destination holds
  std::uint64_t wire_bytes = 0;    ///< on page channels, headers and resends included
  std::uint64_t placed_bytes = 0;  ///< of them, put straight into the destination's memory
  std::uint64_t packets = 0;
  std::uint64_t rounds = 0;
  std::uint64_t zero_bytes = 0;  ///< told, not sent
  std::uint64_t resent = 0;      ///< units of 4 KiB that were damaged on the way, and sent again
  std::uint64_t suspect = 0;     ///< units that changed while they were sent
  std::uint64_t zero_copy_fallbacks = 0;  ///< writes without copying that were copied after all
  std::uint64_t replacements = 0;         ///< page channels whose place another one took
  std::uint64_t refused = 0;              ///< peers that were sent away
  std::uint64_t state_bytes = 0;          ///< of device state
  std::uint64_t state_sections = 0;
  unsigned channels = 0;                ///< page channels
  unsigned throttle = 0;                ///< percent, at most, that the guest was slowed by
  std::chrono::nanoseconds elapsed{};   ///< from the first word of the session to its end
  std::chrono::nanoseconds downtime{};  ///< from pause() to the peer's STARTED; 0 where nothing ran
  DowntimeReport downtime_parts;
  std::vector<RoundReport> each_round;
  std::vector<LaneReport> lanes;
  Verify verify = Verify::pages;
  Proof proof = Proof::transcript;
  std::string peer;
  std::string cipher;       ///< that hid all but placed_bytes from others; empty: nothing did
  bool kernel_tls = false;  ///< the kernel encrypted what this side sent
  /// One sentence for people: what limited the rate. Empty where too little went to say.
  std::string limit;
};

}  // namespace ferry
