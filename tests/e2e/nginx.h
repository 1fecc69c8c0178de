// A real reverse proxy between the two commands.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tests/e2e/process.h"
#include "tests/image/temp_folder.h"

namespace ferry {

/// nginx on a free port of 127.0.0.1, unprivileged and with all its files in a folder of its own,
/// that passes WebSockets at /ferry on to another port. It ends with this object.
class Nginx {
 public:
  enum class Ends { nothing, tls };  ///< what ends at the proxy

  /// `settings`: more lines for its location. Not running, with the reason in why_not(), where
  /// there is no nginx.
  Nginx(std::uint16_t to, Ends ends, const std::string& settings = {});
  ~Nginx();

  bool running() const noexcept { return process_.has_value(); }
  const std::string& why_not() const noexcept { return why_not_; }
  std::uint16_t port() const noexcept { return port_; }
  /// "ws://127.0.0.1:PORT/ferry", or wss.
  std::string uri() const;
  std::string log() const;

 private:
  std::string configuration(std::uint16_t to, const std::string& settings) const;

  TempFolder folder_;
  const Ends ends_;
  std::uint16_t port_ = 0;
  std::string why_not_;
  std::optional<Process> process_;
};

}  // namespace ferry
