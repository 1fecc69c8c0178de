// What migrate-recv is told.
#pragma once

#include <filesystem>
#include <span>

#include "base/output_file.h"
#include "console/activation.h"
#include "console/common_options.h"
#include "ferry/guest.h"
#include "ferry/result.h"
#include "ferry/runtime.h"
#include "ferry/uri.h"

namespace ferry {

/// What is done with what is at the address.
enum class ReceiveTask {
  receive,
  inspect,  ///< say what is in the snapshot there
  check,    ///< read and verify all of it
};

struct ReceiveCommand {
  CommonOptions common;  ///< with an answer in it, nothing below is set
  ReceiveTask task = ReceiveTask::receive;
  std::filesystem::path output;         ///< empty unless the task is to receive
  unsigned lanes = default_channels();  ///< that read a snapshot
  Existing existing = Existing::keep;
  Uri at;
  TlsOptions tls;
  FileOptions file;
};

/// `arguments` is argv without the command's own name; `activation` has the address where none is
/// among them. Errc::usage.
Result<ReceiveCommand> parse_receive_command(std::span<const char* const> arguments,
                                             const Activation& activation);

}  // namespace ferry
