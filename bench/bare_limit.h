// The bare limit: bytes from one process to another over N connections, TCP on loopback or UNIX,
// and nothing else. No framing, no scan, no checksum: both sides know the length, and piece k of 1
// MiB travels on connection k mod N.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ferry/result.h"
#include "ferry/unique_fd.h"

namespace ferry::bench {

enum class BareLine {
  tcp,
  unix,
  upgraded,  ///< TCP, and first a request and an answer of HTTP, after which a proxy passes all
             ///< bytes
};

/// Sends all of `memory` to the listener at `address` (BareListener::address), one thread a
/// connection.
Result<void> bare_send(std::span<const std::byte> memory, const std::string& address,
                       unsigned channels);
/// The same for an image file, which it maps. (Not through sendfile: a VMM's memory is a mapping.)
Result<void> bare_send_file(const std::string& path, const std::string& address, unsigned channels);

class BareListener {
 public:
  static Result<BareListener> create(BareLine line = BareLine::tcp);
  /// "7001", a port's number; "@name", an abstract name; "upgrade:7001".
  const std::string& address() const noexcept { return address_; }

  /// Each thread receives its pieces where they belong.
  Result<void> receive(std::span<std::byte> memory, unsigned channels);
  /// Each thread receives a piece into its buffer and writes it to its place in a new file, which
  /// is brought to its length first, and is synced and renamed to `path` in the end, as
  /// migrate-recv does.
  Result<void> receive_file(const std::string& path, std::uint64_t bytes, unsigned channels);

 private:
  BareListener(UniqueFd fd, BareLine line, std::string address)
      : fd_(std::move(fd)), line_(line), address_(std::move(address)) {}
  Result<std::vector<UniqueFd>> accept(unsigned channels);

  UniqueFd fd_;
  BareLine line_;
  std::string address_;
};

/// How long a plain loop with so many threads takes to read all of a mapping: each reads every word
/// of its share. The return value depends on every byte, so that nothing can be left out.
std::uint64_t plain_read(std::span<const std::byte> memory, unsigned threads);

}  // namespace ferry::bench
