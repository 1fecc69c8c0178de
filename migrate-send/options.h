// What migrate-send is told.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "console/common_options.h"
#include "ferry/guest.h"
#include "ferry/result.h"
#include "ferry/runtime.h"
#include "ferry/uri.h"

namespace ferry {

struct SendCommand {
  CommonOptions common;  ///< with an answer in it, nothing below is set
  std::vector<std::filesystem::path> images;
  Uri to;
  std::optional<unsigned> channels;  ///< where a number was given
  Verify verify = Verify::pages;
  ZeroCopy zero_copy = ZeroCopy::automatic;
  std::uint64_t max_bandwidth = 0;  ///< bytes per second; 0: no bound
  TlsOptions tls;
  std::vector<WebsocketHeader> websocket_headers;
  FileOptions file;
};

/// `arguments` is argv without the command's own name. Errc::usage.
Result<SendCommand> parse_send_command(std::span<const char* const> arguments);

}  // namespace ferry
