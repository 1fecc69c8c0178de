// A real reverse proxy between the two sides of a run.
#pragma once

#include <cstdint>
#include <string>

#include "bench/process.h"
#include "ferry/result.h"

namespace ferry::bench {

/// nginx with one worker on a free port of 127.0.0.1, that passes upgraded connections at `/` on to
/// another port, and writes nothing but in a folder of its own. Both end with this object.
class Proxy {
 public:
  /// Errc::unsupported where there is no nginx; Errc::system where it does not start.
  static Result<Proxy> start(std::uint16_t to);
  Proxy(Proxy&& other) noexcept = default;
  Proxy& operator=(Proxy&&) = delete;
  ~Proxy();

  std::uint16_t port() const noexcept { return port_; }

 private:
  Proxy(std::string folder, std::uint16_t port, Process nginx)
      : folder_(std::move(folder)), port_(port), nginx_(std::move(nginx)) {}

  std::string folder_;
  std::uint16_t port_;
  Process nginx_;
};

}  // namespace ferry::bench
