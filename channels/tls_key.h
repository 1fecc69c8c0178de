// The key that two sides of a migration share.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "ferry/result.h"

namespace ferry {

using TlsKey = std::array<std::byte, 32>;

/// 64 hexadecimal digits, or 43 of base64url. Errc::usage, which never repeats what was given.
Result<TlsKey> parse_tls_key(std::string_view text);

/// In base64url: what stands in a URI.
std::string tls_key_text(const TlsKey& key);

/// One that nobody has seen. Errc::system.
Result<TlsKey> fresh_tls_key();

}  // namespace ferry
