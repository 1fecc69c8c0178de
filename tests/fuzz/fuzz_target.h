// What the fuzz targets have in common. Each is one source with LLVMFuzzerTestOneInput; libFuzzer
// brings the main() that mutates inputs, run_inputs.cc the one that runs those in the tree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

#include "base/checksum.h"
#include "base/cursor.h"
#include "wire/framing.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace ferry::fuzz {

using Bytes = std::vector<std::byte>;

/// Ends the process where `holds` is false: that is a finding. Unlike assert, also in a release
/// build.
inline void demand(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "finding: not so: %s\n", what);
  std::abort();
}

/// An input as the bytes that a peer sent. Copied, so that the address sanitizer knows its end.
inline Bytes bytes_of(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  return {bytes.begin(), bytes.end()};
}

/// A message with its length and its checksum put right, so that the fields behind them are looked
/// at. What is too short to have both is left alone.
inline Bytes sealed(Bytes message) {
  if (message.size() < wire::k_prologue_bytes + wire::k_checksum_bytes) return message;
  const std::size_t covered = message.size() - wire::k_checksum_bytes;
  message.resize(covered);
  ByteWriter out(message);
  out.overwrite_u32(4, static_cast<std::uint32_t>(covered + wire::k_checksum_bytes));
  out.u64(xxh3_64(message));
  return message;
}

/// Runs a target of one message twice: on the input as it is, and on the same sealed.
template <class Check>
int check_message(const std::uint8_t* data, std::size_t size, Check check) {
  const Bytes input = bytes_of(data, size);
  check(input);
  check(sealed(input));
  return 0;
}

}  // namespace ferry::fuzz
