// Every bound on what a peer may say, in one place.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ferry/memory.h"

namespace ferry::wire {

/// Each message begins with a magic and its own length (of the header, for a packet).
inline constexpr std::size_t k_prologue_bytes = 8;

inline constexpr std::uint16_t k_version_min = 1;
inline constexpr std::uint16_t k_version_max = 1;

inline constexpr std::size_t k_max_hello_bytes = 4096;
inline constexpr std::size_t k_max_control_bytes = 512 * 1024;
inline constexpr std::size_t k_max_text_bytes = 1024;  ///< reasons, in refusals and aborts

inline constexpr unsigned k_max_channels = 255;  ///< page channels; control is extra
inline constexpr std::size_t k_max_regions = 1024;
inline constexpr std::size_t k_max_name_bytes = 255;
inline constexpr std::uint64_t k_max_memory_bytes = std::uint64_t{16} << 40;  ///< of one guest
inline constexpr std::uint64_t k_max_page_bytes = std::uint64_t{1} << 30;

/// Of device state: what one frame carries, and in how many sections.
inline constexpr std::size_t k_max_state_piece_bytes = 256 * 1024;
inline constexpr std::size_t k_max_state_sections = 4096;
/// Of them, the first so many may come in packets: where a run has a region, they have the number.
inline constexpr std::size_t k_max_packed_sections = k_max_regions;

inline constexpr std::size_t k_max_payload_bytes = 1024 * 1024;
inline constexpr std::size_t k_max_runs = 1024;  ///< in a packet, in a list of suspects
/// Units of a packet's payload. Each run may end in a partial unit, at its region's end.
inline constexpr std::size_t k_max_checksums = k_max_payload_bytes / k_unit_bytes + k_max_runs - 1;
/// Runs of a NAK: every unit of a packet may be damaged by itself.
inline constexpr std::size_t k_max_nak_runs = k_max_checksums;
/// Fixed fields and checksum, then 32 bytes a run and 8 a checksum.
inline constexpr std::size_t k_max_packet_header_bytes = 48 + 32 * k_max_runs + 8 * k_max_checksums;

inline constexpr std::size_t k_max_image_header_bytes = 512 * 1024;  ///< of a snapshot's file
inline constexpr std::size_t k_max_image_sections = 1024;
inline constexpr std::size_t k_max_image_directory_bytes = 512 * 1024;

inline constexpr unsigned k_max_resends = 3;  ///< of one run, before it is an integrity error
inline constexpr std::size_t k_max_damaged_runs = 4096;  ///< outstanding on one lane, likewise

}  // namespace ferry::wire
