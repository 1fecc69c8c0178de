// Runs of whole commands: measured is from the start of the receiver to the end of both.
#pragma once

#include <cstdint>
#include <string>

#include "bench/measure.h"
#include "ferry/result.h"

namespace ferry::bench {

/// Where the programs are.
struct Commands {
  std::string send;
  std::string receive;
  std::string bare_limit;
  std::string poller{"auto"};  ///< what Ferry's are told to wait with
};
/// Those of the build that this program belongs to. Errc::system where one is missing.
Result<Commands> find_commands();

/// One image on its way. The output must not be there yet; it is checked after each run, and
/// removed.
struct ImageTransfer {
  std::string image;
  std::string output;
  std::uint64_t bytes = 0;  ///< the image's length
  unsigned channels = 1;
  std::string scheme{"tcp"};  ///< Ferry's: tcp, or tls with a key for this one session
};
Result<Run> ferry_image(const Commands& commands, const ImageTransfer& transfer);
Result<Run> bare_image(const Commands& commands, const ImageTransfer& transfer);

/// The largest memory of each side that is not the image: what is anonymous, and what is mapped of
/// files on a disk (the image must be in a tmpfs: its pages count as shared memory). Looked at each
/// millisecond, which disturbs: not for timed runs.
struct PeakMemory {
  std::uint64_t send_bytes = 0;
  std::uint64_t receive_bytes = 0;
};
Result<PeakMemory> peak_memory(const Commands& commands, const ImageTransfer& transfer);

/// From the start of `command --version` to its end.
Result<Run> start_up(const std::string& command);

}  // namespace ferry::bench
