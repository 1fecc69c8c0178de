#include "console/exit_code.h"

namespace ferry {

ExitCode exit_code(const Error& error) noexcept {
  switch (error.code) {
    case Errc::cancelled:
      return ExitCode::cancelled;
    case Errc::timed_out:
    case Errc::unreachable:
      return ExitCode::unreachable;
    case Errc::refused:
    case Errc::auth:
      return ExitCode::refused;
    case Errc::integrity:
      return ExitCode::integrity;
    case Errc::disconnected:
    case Errc::protocol:
      return ExitCode::peer_failed;
    case Errc::unsupported:
    case Errc::usage:
      return ExitCode::usage;
    case Errc::system:
    case Errc::guest:
      return ExitCode::local_io;
    case Errc::not_converging:
      return ExitCode::no_convergence;
  }
  return ExitCode::internal;
}

ExitCode exit_code(const Outcome& outcome) noexcept {
  if (outcome.owner == Owner::unknown) return ExitCode::unknown_owner;
  return outcome.why_not ? exit_code(*outcome.why_not) : ExitCode::done;
}

}  // namespace ferry
