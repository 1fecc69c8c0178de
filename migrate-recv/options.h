// What migrate-recv is told.
#pragma once

#include <filesystem>
#include <span>

#include "console/activation.h"
#include "console/common_options.h"
#include "ferry/result.h"
#include "ferry/runtime.h"
#include "ferry/uri.h"
#include "image/output_file.h"

namespace ferry {

struct ReceiveCommand {
  CommonOptions common;  ///< with an answer in it, nothing below is set
  std::filesystem::path output;
  Existing existing = Existing::keep;
  Uri at;
  TlsOptions tls;
};

/// `arguments` is argv without the command's own name; `activation` has the address where none is
/// among them. Errc::usage.
Result<ReceiveCommand> parse_receive_command(std::span<const char* const> arguments,
                                             const Activation& activation);

}  // namespace ferry
