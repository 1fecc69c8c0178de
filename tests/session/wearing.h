// Channels that wear, without the 128 GiB that it takes TLS.
#pragma once

#include <cstdint>
#include <memory>

#include "tests/session/wrapped_lines.h"

namespace ferry::test {

/// `inner`, worn once so many bytes have been written to it. It goes on all the same: what a test
/// asks is what others make of it.
std::unique_ptr<Channel> wearing(std::unique_ptr<Channel> inner, std::uint64_t bytes);

/// `inner`, where each channel that it connects wears so.
std::unique_ptr<Transport> wear_lines(std::unique_ptr<Transport> inner, std::uint64_t bytes);

}  // namespace ferry::test
