// Where a migration goes: the addresses that people type.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "ferry/result.h"

namespace ferry {

inline constexpr std::uint16_t k_default_port = 4446;

/// An address, parsed. `tcp://host:port`, `unix:///path`, `unix://@abstract`, `rdma://host:port`, ...;
/// QEMU's `tcp:host:port` and `unix:/path` are understood too. IPv6 stands in brackets.
struct Uri {
  std::string scheme;
  std::string host;                       ///< without brackets; empty: all addresses
  std::uint16_t port = k_default_port;    ///< 0: any free one, for a listener
  std::string path;                       ///< for schemes that have one; '@name' is abstract
  std::map<std::string, std::string> query;

  /// Checks the syntax, and that the scheme's address form is one of the two that Ferry knows
  /// (host and port, or path). Which schemes there are is Runtime's to say. Errc::usage.
  static Result<Uri> parse(std::string_view text);

  /// The URI in Ferry's own form. parse(text()) gives the same Uri.
  std::string text() const;

  friend bool operator==(const Uri&, const Uri&) = default;
};

}  // namespace ferry
