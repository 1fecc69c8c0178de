// One lane's account of what it carried, kept in the same way on both sides.
#pragma once

#include <cstdint>

#include "base/checksum.h"
#include "wire/control.h"

namespace ferry {

/// Adds a packet, in the order of the lane. Resends and ends of rounds are packets too.
inline void record_packet(wire::LaneTranscript& lane, std::uint64_t header_checksum,
                          std::uint64_t payload_bytes) noexcept {
  ++lane.packets;
  lane.payload_bytes += payload_bytes;
  lane.headers = chain(lane.headers, header_checksum);
}

/// Adds a NAK, in the order in which the receiver sent them.
inline void record_verdict(wire::LaneTranscript& lane, const wire::Nak& nak) {
  lane.verdicts = chain(lane.verdicts, xxh3_64(wire::encode(nak)));
}

}  // namespace ferry
