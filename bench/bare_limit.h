// The bare limit: bytes from one process to another over N TCP connections on loopback, and nothing
// else. No framing, no scan, no checksum: both sides know the length, and piece k of 1 MiB travels
// on connection k mod N.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ferry/result.h"
#include "ferry/unique_fd.h"

namespace ferry::bench {

/// Sends all of `memory` to the listener at `port`, one thread a connection.
Result<void> bare_send(std::span<const std::byte> memory, std::uint16_t port, unsigned channels);
/// The same for an image file, which it maps. (Not through sendfile: a VMM's memory is a mapping.)
Result<void> bare_send_file(const std::string& path, std::uint16_t port, unsigned channels);

class BareListener {
 public:
  static Result<BareListener> create();
  std::uint16_t port() const noexcept { return port_; }

  /// Each thread receives its pieces where they belong.
  Result<void> receive(std::span<std::byte> memory, unsigned channels);
  /// Each thread receives a piece into its buffer and writes it to its place in a new file, which
  /// is brought to its length first, and is synced and renamed to `path` in the end, as
  /// migrate-recv does.
  Result<void> receive_file(const std::string& path, std::uint64_t bytes, unsigned channels);

 private:
  BareListener(UniqueFd fd, std::uint16_t port) : fd_(std::move(fd)), port_(port) {}
  Result<std::vector<UniqueFd>> accept(unsigned channels);

  UniqueFd fd_;
  std::uint16_t port_;
};

/// How long a plain loop with so many threads takes to read all of a mapping: each reads every word
/// of its share. The return value depends on every byte, so that nothing can be left out.
std::uint64_t plain_read(std::span<const std::byte> memory, unsigned threads);

}  // namespace ferry::bench
