// What a fuzzed peer says, on which line, and in which order: the meaning of an input of
// session_fuzz.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tests/fuzz/fuzz_target.h"
#include "wire/control.h"

namespace ferry::fuzz {

/// Line 0 is the control channel (or the only one); 1 to 3 are page channels.
inline constexpr unsigned k_lines = 4;

/// One step: bytes on one line. Where messages are put right it is one message, a packet's with its
/// payload.
struct Step {
  unsigned line = 0;
  Bytes bytes;
};

struct SessionScript {
  /// Does the harness put lengths, checksums and transcripts right, or send what the input has?
  enum class Seals { as_they_are, put_right };
  /// Do the lines end as a peer ends that has said all, or are they cut?
  enum class Ending { finish, cut };

  Seals seals = Seals::put_right;
  Ending ending = Ending::finish;
  std::vector<Step> steps;
};

/// Any bytes mean something: a byte of options, then steps of a byte for the line, two for the
/// length, and as many bytes as there are of those.
SessionScript script_of(std::span<const std::byte> input);
/// An input that means `script`. A step has at most 65535 bytes.
Bytes input_of(const SessionScript& script);

/// Puts the steps of one script right, in their order.
class Sealer {
 public:
  Bytes put_right(const Step& step);

 private:
  Bytes packet(unsigned line, Bytes bytes);
  Bytes control(Bytes bytes);

  std::vector<wire::LaneTranscript> lanes_ = std::vector<wire::LaneTranscript>(k_lines);
};

}  // namespace ferry::fuzz
