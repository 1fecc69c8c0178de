// What a lane reads, deals with and writes: several runs of each are under way beside each other.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>

#include "ferry/channel.h"
#include "multifd/lane_clock.h"

namespace ferry {

/// The bytes of a lane's buffers that are in use. They come round again in the order in which they
/// were taken: one that is given back has no room for another before all older ones are.
class BuffersInUse {
 public:
  std::uint64_t bytes() const noexcept { return bytes_; }
  /// The number of the new one, which is of so many bytes, or of none.
  std::uint64_t take(std::uint64_t bytes);
  /// This one, once.
  void give_back(std::uint64_t number);

 private:
  struct Buffer {
    std::uint64_t bytes = 0;
    bool given_back = false;
  };
  std::deque<Buffer> buffers_;  // the oldest first, which is not given back
  std::uint64_t first_ = 0;     // its number
  std::uint64_t bytes_ = 0;
};

/// Several runs are being read while the one before them is dealt with, and what came of the ones
/// before that is written. Used by one thread at a time. The first failure is the last call.
class LanePipeline {
 public:
  /// A run on its way in.
  struct Read {
    PageRun run;  ///< as the lane calls it
    std::span<std::byte> bytes;
    std::uint64_t staged = 0;  ///< of these: in a buffer of the lane's
    std::uint64_t buffer = 0;  ///< its number
  };
  /// Deals with what was read: what the lane reads in the order in which it was begun, and what the
  /// caller fills at once, maybe before older ones that are on their way. It may call put(), and no
  /// other.
  using DealWith = std::function<Result<void>(const Read&)>;

  /// `clock` is turned to what the lane waits for, and back to LaneTimes::read.
  LanePipeline(std::unique_ptr<PlacedIo> io, PhaseClock& clock, DealWith deal_with);

  /// Calls `each` with one piece of the run behind the other, none larger than one of the lane's
  /// buffers.
  Result<void> in_pieces(PageRun run,
                         const std::function<Result<void>(const PageRun&)>& each) const;

  /// Waits for room for a read, and deals with what has come meanwhile. The bytes go `into` the
  /// caller's memory, or, where that is empty, into a buffer of so many `bytes`: see in_pieces().
  /// The next call is get() or got().
  Result<Read> begin(const PageRun& run, std::span<std::byte> into, std::uint64_t bytes);
  /// Begins to read from there.
  Result<void> get(const PageRun& from, const Read& read);
  /// The caller has filled it: deals with it.
  Result<void> got(const Read& read);

  /// Begins to write, out of what was read or out of memory that nobody writes to until finish().
  Result<void> put(const PageRun& to, std::span<const std::byte> bytes);

  /// Deals with all that is under way, to its end.
  Result<void> finish();

 private:
  enum class Kind {
    get,
    put,
    held,  ///< nothing to wait for: of the puts before it the last ones are out of this buffer
  };
  struct Move {
    Kind kind = Kind::get;
    Read read{};  // none of a put
  };

  unsigned puts() const noexcept { return io_->under_way() - gets_; }
  bool has_room(std::uint64_t staged) const noexcept;
  Result<void> go_on();
  Result<void> settle();

  const std::unique_ptr<PlacedIo> io_;
  PhaseClock& clock_;
  const DealWith deal_with_;
  std::deque<Move> under_way_;   // the oldest first
  std::deque<Read> come_;        // in, and not dealt with yet
  unsigned gets_ = 0;            // under way
  std::uint64_t got_bytes_ = 0;  // of buffers, from begin() on until they are dealt with
  BuffersInUse in_use_;          // and on until what was put out of them has settled
  bool puts_on_ = false;
};

}  // namespace ferry
