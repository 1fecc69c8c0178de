// Amounts as people read them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "ferry/result.h"

namespace ferry {

/// Three digits and a binary unit: "0 B", "4.00 KiB", "64.0 MiB", "1.00 GiB".
std::string bytes_text(std::uint64_t bytes);
/// The same a second: "1.92 GiB/s".
std::string rate_text(double bytes_per_second);
/// For what was measured: "0.52 s", "12.3 s", "1:02:03".
std::string seconds_text(std::chrono::nanoseconds time);
/// For what is guessed: "0:07", "12:03", "1:02:03".
std::string clock_text(std::chrono::seconds time);

/// A rate as people type it, in bytes per second: "2GiB/s", "100MB/s", "512 KiB", "1.5G". Units are
/// B, KiB to TiB (K to T for short) and kB to TB; the "/s" may be left out. At least a byte a
/// second. Errc::usage.
Result<std::uint64_t> parse_rate(std::string_view text);

/// An amount as people type it, in the same units: "64MiB", "4 G". At least a byte. Errc::usage.
Result<std::uint64_t> parse_bytes(std::string_view text);

/// Bytes per second; 0 where no time has passed.
double rate_of(std::uint64_t bytes, std::chrono::nanoseconds time) noexcept;

}  // namespace ferry
