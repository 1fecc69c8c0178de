// A line whose ends put pages straight into each other's memory: RDMA's double, in one process.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "ferry/channel.h"

namespace ferry::test {

/// When what was put is to be seen at the other end: within what a PlacedIo promises.
enum class Landing {
  at_once,
  /// With the next bytes that are written, as the memory is then: what is written to a page after
  /// its put was begun goes along.
  with_the_next_bytes,
};

/// How much memory may be pinned.
enum class Pinning { all, staging_alone };

struct PlacingOptions {
  Landing landing = Landing::at_once;
  Pinning pinning = Pinning::all;
  std::vector<std::uint64_t> flips{};  ///< bytes, of all that an end puts, that are damaged
};

/// Where what one end puts lands: memory of the other, once it has admitted any.
struct PlacingGround;
std::shared_ptr<PlacingGround> make_placing_ground();

/// Makes a placing end of the end of a line: the other end has the same grounds, the other way
/// round. A put waits until memory was admitted; cancel() wakes it, and the other end's end. It is
/// checked as a device does: outside of that memory, after withdraw(), or from memory that was
/// neither attached nor is the last staging buffer, it fails, and nothing lands.
std::unique_ptr<Channel> make_placing_end(std::unique_ptr<Channel> end,
                                          std::shared_ptr<PlacingGround> ours,
                                          std::shared_ptr<PlacingGround> theirs,
                                          const PlacingOptions& options = {});

using ChannelPair = std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>>;

/// Both ends of one line.
ChannelPair make_placing(ChannelPair line, const PlacingOptions& options = {});

/// The same over a pair of sockets.
ChannelPair make_placing_pair(const PlacingOptions& options = {});

}  // namespace ferry::test
