// Where a migration goes: the addresses that people type.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "ferry/result.h"

namespace [[gnu::visibility("default")]] ferry {

inline constexpr std::uint16_t k_default_port = 4446;

/// An address, parsed: `tcp://host:port`, `unix:///path`, `unix://@abstract`, `vsock://cid:port`,
/// `ws://host:port/path`, `file:///path`, `exec:command`, `fd:3`, `stdio:`, ...; QEMU's
/// `tcp:host:port`, `unix:/path` and `vsock:cid:port` are understood too. IPv6 stands in brackets.
/// Where a scheme is followed by `//`, a query may end the URI, and `%20` and the like are decoded
/// in path and query.
struct Uri {
  std::string scheme;                   ///< in small letters
  std::string host;                     ///< without brackets; empty: all addresses; a vsock's cid
  std::uint16_t port = k_default_port;  ///< 0: any free one, for a listener
  std::string path;  ///< with its '/'; '@name' is abstract; the command of exec:, the number of fd:
  std::map<std::string, std::string> query;

  /// Checks the syntax, by the address form that the scheme takes. Which schemes there are is
  /// Runtime's to say: one that is not known here takes host, port and path, none of
  /// which it must have. Any bytes may be given;
  /// control characters are refused. Errc::usage.
  static Result<Uri> parse(std::string_view text);

  /// The URI in Ferry's own form, one word unless it is a command. parse(text()) gives the same
  /// Uri.
  std::string text() const;
  /// The same for errors and logs: a key in it reads "...".
  std::string shown() const;

  /// Is the line the process's own standard input and output? What it says there goes to the peer.
  bool is_standard_streams() const;

  friend bool operator==(const Uri&, const Uri&) = default;
};

/// Who can come to where somebody listens, and by which address; the later, the more can.
enum class Reach {
  this_host,      ///< peers on this host alone
  this_address,   ///< other hosts too, by the listener's Uri as it stands
  every_address,  ///< other hosts, by any name or address of this host in the place of the Uri's
};

}  // namespace ferry
