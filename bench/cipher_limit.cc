#include "bench/cipher_limit.h"

#include <fmt/format.h>

#include <cstdlib>
#include <string_view>
#include <vector>

#include "bench/process.h"

namespace ferry::bench {
namespace {

/// How `openssl speed` calls the cipher of a suite.
Result<std::string> cipher_of(const std::string& suite) {
  if (suite == "TLS_AES_128_GCM_SHA256") return "aes-128-gcm";
  if (suite == "TLS_CHACHA20_POLY1305_SHA256") return "chacha20-poly1305";
  return fail(Errc::unsupported, fmt::format("measure the cipher of '{}'", suite));
}

/// Bytes in a second of one core's time. The line that says it is "+F:25:AES-128-GCM:3444481765.5".
Result<double> speed_of(const std::string& cipher, const std::string& direction) {
  // A shell finds it, and hides what it tells people of its progress.
  Process openssl = FERRY_TRY(Process::start(
      {"/bin/sh", "-c", "exec openssl speed -mr -seconds 1 -bytes 16384 $2 -evp $1 2>/dev/null",
       "sh", cipher, direction}));
  double bytes_per_second = 0;
  for (;;) {
    const Result<std::string> line = openssl.read_line();
    if (!line) break;
    if (!line->starts_with("+F:")) continue;
    bytes_per_second = std::strtod(line->substr(line->rfind(':') + 1).c_str(), nullptr);
  }
  FERRY_TRY(openssl.wait());
  if (bytes_per_second > 0) return bytes_per_second;
  return fail(Errc::protocol, fmt::format("openssl speed said nothing of {}", cipher));
}

}  // namespace

Result<CipherSpeed> cipher_speed(const std::string& suite) {
  const std::string cipher = FERRY_TRY(cipher_of(suite));
  CipherSpeed speed;
  speed.encrypt = FERRY_TRY(speed_of(cipher, ""));
  speed.decrypt = FERRY_TRY(speed_of(cipher, "-decrypt"));
  return speed;
}

Run with_cipher(Run bare, std::uint64_t bytes, const CipherSpeed& speed) {
  bare.send.cpu_seconds += static_cast<double>(bytes) / speed.encrypt;
  bare.receive.cpu_seconds += static_cast<double>(bytes) / speed.decrypt;
  bare.seconds += static_cast<double>(bytes) / (2 * speed.encrypt) +
                  static_cast<double>(bytes) / (2 * speed.decrypt);
  return bare;
}

}  // namespace ferry::bench
