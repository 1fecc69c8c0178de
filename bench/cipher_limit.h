// What encryption costs at the least: the cipher alone, by `openssl speed`.
#pragma once

#include <cstdint>
#include <string>

#include "bench/measure.h"
#include "ferry/result.h"

namespace ferry::bench {

/// Bytes that one core encrypts and decrypts in a second, in records as large as TLS's.
struct CipherSpeed {
  double encrypt = 0;
  double decrypt = 0;
};
/// Asks the command openssl, for about two seconds. `suite` is TLS's name of it
/// ("TLS_AES_128_GCM_SHA256"). Errc::unsupported for a suite that is not Ferry's, Errc::guest where
/// there is no such command.
Result<CipherSpeed> cipher_speed(const std::string& suite);

/// What two cores would take for the work of `bare`, a run without encryption that has them both,
/// and then for the cipher: bare's seconds, and bytes / (2 * encrypt) and bytes / (2 * decrypt).
Run with_cipher(Run bare, std::uint64_t bytes, const CipherSpeed& speed);

}  // namespace ferry::bench
