// How a command proves who it is, and whom it believes.
#pragma once

#include <string>
#include <vector>

#include "console/command_line.h"
#include "ferry/channel.h"
#include "ferry/result.h"
#include "ferry/runtime.h"

namespace ferry {

enum class TlsRole { sender, receiver };

std::vector<OptionSpec> with_tls_options(TlsRole role, std::vector<OptionSpec> own);

/// Reads the key file, too: `-` is standard input. Errc::usage, Errc::system.
Result<TlsOptions> tls_options(const CommandLine& line);

/// What to warn of, once, where a line leaves the host and does not hide all that it carries; else
/// empty.
std::string not_encrypted_text(const ChannelInfo& line);

}  // namespace ferry
